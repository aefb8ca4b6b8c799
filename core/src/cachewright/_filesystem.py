"""A file system is local or shared over a network; only a local one has the locks that stores need."""

from __future__ import annotations

import os
import re

NETWORK_TYPES = frozenset({
    "9p", "afs", "beegfs", "ceph", "cifs", "coda", "davfs", "drvfs", "fuse.beegfs", "fuse.ceph",
    "fuse.cephfs", "fuse.davfs2", "fuse.gcsfuse", "fuse.glusterfs", "fuse.goofys", "fuse.juicefs",
    "fuse.mount-s3", "fuse.rclone", "fuse.s3fs", "fuse.smbnetfs", "fuse.sshfs", "fuse.vmhgfs-fuse",
    "gfs2", "glusterfs", "gpfs", "lustre", "ncpfs", "nfs", "nfs4", "ocfs2", "orangefs", "prl_fs",
    "smb", "smb2", "smb3", "smbfs", "vboxsf", "vmhgfs",
})  # fmt: skip
"""Types on which advisory locks or shared memory do not reach every process that has the file open."""

_ESCAPED = re.compile(r"\\([0-7]{3})")


def type_of(path: str, mountinfo: str) -> str:
    """Return the type of the file system that holds ``path``; empty if no line covers it.

    Args:
        path: absolute, without symbolic links.
        mountinfo: text in the format of ``/proc/self/mountinfo`` (proc_pid_mountinfo(5)).
    """
    found, length = "", -1
    for line in mountinfo.splitlines():
        before, separator, after = line.partition(" - ")
        fields, rest = before.split(" "), after.split(" ")
        if not separator or len(fields) < 5:
            continue
        point = _ESCAPED.sub(lambda match: chr(int(match[1], 8)), fields[4])
        inside = path == point or path.startswith(point.rstrip("/") + "/")
        if inside and len(point) >= length:  # the later of two mounts on one point hides the earlier
            found, length = rest[0], len(point)
    return found


def network_type(path: str) -> str:
    """Return the type of the network file system that holds ``path``, empty for a local one.

    Where the operating system has no ``/proc`` every file system counts as local.
    """
    try:
        with open("/proc/self/mountinfo", encoding="utf-8", errors="surrogateescape") as file:
            found = type_of(os.path.abspath(path), file.read())
    except OSError:
        return ""
    return found if found in NETWORK_TYPES else ""
