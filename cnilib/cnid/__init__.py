"""cnid, the preforked plugin server: a warm process that runs a plugin for each call in a child.

The conversation on the socket, one packet each (SOCK_SEQPACKET keeps them apart):

1. client: ``build/plugin``, the name of its build and of its plugin.
2. server: ``READY``. Until then the client may give up and run the plugin itself; closing the
   connection means the same from either side.
3. client: a marshalled tuple ``(environment, umask)`` with seven descriptors: stdin,
   stdout, stderr, network namespace, mount namespace, root, working directory. From here on the
   call is the server's child's. (Not earlier: descriptors on their way to a server that hangs
   would keep the runtime waiting for the end of stdout.)
4. server: the exit status, one byte. A closed connection instead: the child was killed.

When the client goes away, or closes its half of the connection because it got SIGTERM itself, the
child gets SIGTERM, undoes what it did and ends.
"""
