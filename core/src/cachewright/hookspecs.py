"""The hooks of the plugin system; each docstring holds a complete plugin.

A plugin is a module (or any object) whose functions are marked with :data:`hookimpl`. A
distribution announces it with an entry point in the group ``cachewright``::

    [project.entry-points.cachewright]
    shelf = "cachewright_shelf.plugin"

Plugins answer with records, not classes, so that listing and ranking engines imports no backend
library. Nothing is discovered before the first cache is opened.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

import pluggy

if TYPE_CHECKING:
    from cachewright.cipher import CipherInfo
    from cachewright.codec import CodecInfo
    from cachewright.engine import EngineInfo
    from cachewright.events import Listener
    from cachewright.keymaker import KeyMakerInfo
    from cachewright.serializer import SerializerInfo

PROJECT = "cachewright"
"""Name of the pluggy project and of the entry-point group."""

hookspec = pluggy.HookspecMarker(PROJECT)
hookimpl = pluggy.HookimplMarker(PROJECT)


@hookspec
def cachewright_engines() -> Iterable[EngineInfo]:
    """Return the records of the engines that this plugin provides.

    Example, a whole plugin module::

        from cachewright.engine import Capabilities, Costs, EngineInfo
        from cachewright.hookspecs import hookimpl

        @hookimpl
        def cachewright_engines():
            return [
                EngineInfo(
                    name="shelf",
                    target="cachewright_shelf.engine:ShelfEngine",
                    capabilities=Capabilities(holds="bytes", scope="host", persistent=True, blocking=True),
                    costs=Costs(get=((64, 5e-6), (1_000_000, 1e-3)), set=((64, 50e-6), (1_000_000, 2e-3))),
                    requires=("shelf",),
                    install="cachewright-shelf",
                    summary="entries in a shelf file",
                )
            ]
    """
    raise AssertionError  # pluggy never calls a specification


@hookspec
def cachewright_serializers() -> Iterable[SerializerInfo]:
    """Return the records of the serializers that this plugin provides.

    Example, a whole plugin module::

        from cachewright.hookspecs import hookimpl
        from cachewright.serializer import SerializerInfo

        @hookimpl
        def cachewright_serializers():
            return [
                SerializerInfo(
                    name="cbor",
                    code=0x41,
                    target="cachewright_cbor.serializer:CborSerializer",
                    types=("builtins.dict", "builtins.list"),
                    requires=("cbor2",),
                    install="cachewright-cbor",
                    summary="CBOR documents",
                )
            ]
    """
    raise AssertionError  # pluggy never calls a specification


@hookspec
def cachewright_keymakers() -> Iterable[KeyMakerInfo]:
    """Return the records of the key makers that this plugin provides.

    Example, a whole plugin module::

        from cachewright.hookspecs import hookimpl
        from cachewright.keymaker import KeyMakerInfo

        @hookimpl
        def cachewright_keymakers():
            return [
                KeyMakerInfo(
                    name="rounded",
                    target="cachewright_rounded.keymaker:RoundedKeyMaker",
                    summary="floats rounded to six digits",
                )
            ]
    """
    raise AssertionError  # pluggy never calls a specification


@hookspec
def cachewright_codecs() -> Iterable[CodecInfo]:
    """Return the records of the codecs that this plugin provides.

    Example, a whole plugin module::

        from cachewright.codec import CodecInfo
        from cachewright.hookspecs import hookimpl

        @hookimpl
        def cachewright_codecs():
            return [
                CodecInfo(
                    name="brotli",
                    code=0x40,
                    target="cachewright_brotli.codec:BrotliCodec",
                    requires=("brotli",),
                    install="cachewright-brotli",
                    summary="small text in few bytes, slowly",
                )
            ]
    """
    raise AssertionError  # pluggy never calls a specification


@hookspec
def cachewright_ciphers() -> Iterable[CipherInfo]:
    """Return the records of the ciphers that this plugin provides.

    Example, a whole plugin module::

        from cachewright.cipher import CipherInfo
        from cachewright.hookspecs import hookimpl

        @hookimpl
        def cachewright_ciphers():
            return [
                CipherInfo(
                    name="xchacha20",
                    code=0x40,
                    target="cachewright_nacl.cipher:XChaCha20Cipher",
                    requires=("pynacl",),
                    install="cachewright-nacl",
                    summary="XChaCha20-Poly1305 by libsodium",
                )
            ]
    """
    raise AssertionError  # pluggy never calls a specification


@hookspec
def cachewright_listeners() -> Iterable[Listener]:
    """Return callables that receive the events of every cache.

    Example, a whole plugin module::

        from cachewright.events import EngineFailed
        from cachewright.hookspecs import hookimpl

        def report(event):
            if isinstance(event, EngineFailed):
                print(event.engine, event.operation, event.error)

        @hookimpl
        def cachewright_listeners():
            return [report]
    """
    raise AssertionError  # pluggy never calls a specification
