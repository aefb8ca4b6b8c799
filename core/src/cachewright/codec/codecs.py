"""The codecs of one cache, by the id that an authenticated header names."""

from __future__ import annotations

from collections.abc import Iterable

from cachewright.codec.contract import Codec, CodecInfo
from cachewright.errors import EnvelopeError, PluginLoadError


class Codecs:
    """Undoes what any usable codec did; each is loaded when it is first met. May be shared by threads."""

    def __init__(self, infos: Iterable[CodecInfo]) -> None:
        self._infos = {info.code: info for info in infos}
        self._loaded: dict[int, Codec] = {}

    def __contains__(self, code: int) -> bool:
        return code in self._infos

    def load(self, code: int) -> Codec:
        """Return a codec.

        Raises:
            PluginLoadError: it cannot be imported.
        """
        codec = self._loaded.get(code)
        if codec is None:
            codec = self._loaded[code] = self._infos[code].load()()
        return codec

    def inflate(self, code: int, run: bytes | memoryview, size: int) -> bytes:
        """Return the ``size`` bytes that ``run`` was made of.

        Raises:
            EnvelopeError: ``codec`` if it cannot be loaded, ``decode`` if it refuses, ``length`` if it
                returns something else.
        """
        try:
            whole = self.load(code).decompress(run, size=size)
        except PluginLoadError:
            raise EnvelopeError("codec") from None
        except (RecursionError, MemoryError):  # its traceback would keep alive what did not fit
            raise EnvelopeError("decode") from None
        except Exception as error:  # a codec is foreign code, and refuses bytes in its own way
            raise EnvelopeError("decode") from error
        if type(whole) is not bytes or len(whole) != size:
            raise EnvelopeError("length")
        return whole

    def name_of(self, code: int) -> str:
        """Return the name of the codec with this id, for listing; empty for 0, which is none."""
        info = self._infos.get(code)
        return info.name if info else f"unknown ({code:#04x})" if code else ""
