"""A container image with nothing but busybox and a web page, as `docker save` writes one."""

import hashlib
import io
import json
import os
import platform
import tarfile

NAME = "docker.io/library/busy:1"
APPLETS = ("sh", "cat", "echo", "httpd", "ip", "ping", "sleep", "wget")
PAGE = "hello from the container"
_MACHINES = {"x86_64": "amd64", "aarch64": "arm64"}


def write(path, busybox):
    """Write the image as an archive that ctr and podman import."""
    layer = _layer(busybox)
    config = json.dumps(
        {
            "architecture": _MACHINES.get(platform.machine(), platform.machine()),
            "os": "linux",
            "config": {"Cmd": ["/bin/sh"], "Env": ["PATH=/bin"]},
            "rootfs": {
                "type": "layers",
                "diff_ids": [f"sha256:{hashlib.sha256(layer).hexdigest()}"],
            },
        }
    ).encode()
    manifest = [{"Config": "config.json", "RepoTags": [NAME], "Layers": ["layer.tar"]}]
    with tarfile.open(path, "w") as archive:
        _add(archive, "manifest.json", json.dumps(manifest).encode())
        _add(archive, "config.json", config)
        _add(archive, "layer.tar", layer)


def _layer(busybox):
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        for directory in ("bin", "dev", "etc", "proc", "sys", "tmp", "www"):
            entry = tarfile.TarInfo(directory)
            entry.type, entry.mode = tarfile.DIRTYPE, 0o755
            archive.addfile(entry)
        with open(busybox, "rb") as file:
            _add(archive, "bin/busybox", file.read(), 0o755)
        for applet in APPLETS:
            entry = tarfile.TarInfo(f"bin/{applet}")
            entry.type, entry.linkname = tarfile.SYMTYPE, "busybox"
            archive.addfile(entry)
        _add(archive, "etc/passwd", b"root:x:0:0:root:/:/bin/sh\n")
        _add(archive, "www/index.html", PAGE.encode())
    return buffer.getvalue()


def _add(archive, name, content, mode=0o644):
    entry = tarfile.TarInfo(name)
    entry.size, entry.mode = len(content), mode
    archive.addfile(entry, io.BytesIO(content))


def static_busybox():
    """Where one is that needs no library; None without."""
    for directory in os.environ["PATH"].split(":"):
        candidate = f"{directory}/busybox"
        if os.path.exists(candidate):
            with open(candidate, "rb") as file:
                return None if b"/ld-linux" in file.read() else candidate
    return None
