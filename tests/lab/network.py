"""A network list as a runtime runs it: results handed on, capabilities filled in, results kept."""

import copy


class Network:
    """The plugins of a list, called in order; DEL and GC in reverse (SPEC, section 3)."""

    def __init__(self, host, plugins, name="net", version="1.0.0"):
        self.host, self.plugins = host, plugins
        self.name, self.version = name, version
        self.results = {}

    def add(self, container, ifname="eth0", runtime=None, **environ):
        """The final result; a failing plugin fails the test."""
        result = None
        for plugin in self.plugins:
            conf = self.conf(plugin, result, runtime)
            result = self.host.add(conf, container, ifname=ifname, **environ).json
        self.results[container.id, ifname] = (result, runtime)
        return result

    def try_add(self, container, ifname="eth0", runtime=None):
        """The first answer that is an error, or the last."""
        result, answer = None, None
        for plugin in self.plugins:
            conf = self.conf(plugin, result, runtime)
            answer = self.host.cni("ADD", conf, container, ifname=ifname)
            if not answer.ok:
                break
            result = answer.json
        return answer

    def check(self, container, ifname="eth0"):
        """The first answer that is an error, or the last."""
        result, runtime = self.results[container.id, ifname]
        answer = None
        for plugin in self.plugins:
            conf = self.conf(plugin, result, runtime)
            answer = self.host.cni("CHECK", conf, container, ifname=ifname)
            if not answer.ok:
                break
        return answer

    def delete(self, container, ifname="eth0", cached=True, **environ):
        """With the result that the runtime kept, or without."""
        kept = self.results.get((container.id, ifname), (None, None))
        result, runtime = kept if cached else (None, None)
        for plugin in reversed(self.plugins):
            conf = self.conf(plugin, result, runtime)
            self.host.delete(conf, container, ifname=ifname, **environ)

    def collect(self, *valid):
        """GC: only the attachments of these containers are left."""
        attachments = [{"containerID": container.id, "ifname": "eth0"} for container in valid]
        for plugin in reversed(self.plugins):
            conf = self.conf(plugin) | {"cni.dev/valid-attachments": attachments}
            answer = self.host.cni("GC", conf)
            assert (answer.ok, answer.stdout) == (True, ""), answer

    def conf(self, plugin, result=None, runtime=None):
        """One plugin's configuration with what a runtime adds."""
        conf = {"cniVersion": self.version, "name": self.name, **copy.deepcopy(plugin)}
        wanted = {
            capability: (runtime or {})[capability]
            for capability, asked in conf.get("capabilities", {}).items()
            if asked and capability in (runtime or {})
        }
        if wanted:
            conf["runtimeConfig"] = wanted
        if result is not None:
            conf["prevResult"] = result
        return conf
