"""Numbers are encoded by their exact value, whatever their type: 1, 1.0, True and Decimal(1) alike.

Every number has one of these forms, decided by its value alone: an integer of at most ``WIDEST`` bits;
a double that is no integer; any other rational as sign, 2**a, 5**b and two integers prime to 10. The
last keeps ``Decimal("1e1000000000")`` as small as it looks.
"""

from __future__ import annotations

from math import gcd, inf, ldexp
from struct import Struct
from typing import TYPE_CHECKING, Any, Final

from cachewright.builtin.canonical_format import composed, framed, heads

if TYPE_CHECKING:
    from decimal import Decimal
    from fractions import Fraction

WIDEST: Final = 1024
"""Bits of the widest integer that is written as one; every double that is an integer is below."""

NAN: Final = b"!"
INFINITY: Final = b"+"
NEGATIVE_INFINITY: Final = b"-"

_HEADS = heads(b"i")
_DOUBLE: Final = Struct("<d").pack


def _integer(value: int) -> bytes:
    data = value.to_bytes((value.bit_length() + 8) >> 3, "little", signed=True)
    return _HEADS[len(data)] + data


_SMALL: Final = {number: _integer(number) for number in range(-128, 1024)}
"""Encodings of the most frequent integers, found for equal floats and bools too."""


def integer(value: int) -> bytes:
    """Return the encoding of an integer of any size."""
    known = _SMALL.get(value)
    if known is not None:
        return known
    return _integer(value) if value.bit_length() <= WIDEST else rational(value)


def real(value: float) -> bytes:
    """Return the encoding of a float; -0.0 is 0, and all NaN are one."""
    if value.is_integer():
        return integer(int(value))
    if value - value == 0.0:
        return b"f" + _DOUBLE(value)
    if value != value:  # noqa: PLR0124 - NaN
        return NAN
    return INFINITY if value > 0 else NEGATIVE_INFINITY


def cartesian(value: complex) -> bytes:
    """Return the encoding of a complex number; without an imaginary part it is a real one."""
    return real(value.real) if value.imag == 0 else b"c" + real(value.real) + real(value.imag)


def rational(numerator: int, denominator: int = 1, twos: int = 0, fives: int = 0) -> bytes:
    """Return the encoding of ``numerator / denominator * 2**twos * 5**fives``."""
    if numerator == 0:
        return _SMALL[0]
    common = gcd(numerator, denominator)
    magnitude, up_twos, up_fives = _without_tens(abs(numerator) // common)
    divisor, down_twos, down_fives = _without_tens(denominator // common)
    twos += up_twos - down_twos
    fives += up_fives - down_fives
    sign = -1 if numerator < 0 else 1
    if divisor == 1 and fives >= 0:
        # A lower bound of the bits comes first: nothing large is computed to be thrown away.
        if twos >= 0 and magnitude.bit_length() + twos + 2 * fives <= WIDEST + 2:
            whole = magnitude * 5**fives << twos
            if whole.bit_length() <= WIDEST:
                return _integer(sign * whole)
        elif -1074 <= twos < 0 and magnitude.bit_length() + 2 * fives <= 54:
            odd = magnitude * 5**fives
            if odd.bit_length() <= 53:
                return b"f" + _DOUBLE(ldexp(sign * odd, twos))
    return composed(b"q", [_word(sign), _word(twos), _word(fives), _word(magnitude), _word(divisor)])


def decimal(value: Decimal) -> bytes:
    """Return the encoding of a decimal number; no exponent is too large."""
    if value.is_nan():
        return NAN
    if value.is_infinite():
        return NEGATIVE_INFINITY if value.is_signed() else INFINITY
    sign, digits, exponent = value.as_tuple()
    if not isinstance(exponent, int):  # never: NaN and infinity are done
        raise TypeError(exponent)
    coefficient = _coefficient(digits)
    return rational(-coefficient if sign else coefficient, 1, exponent, exponent)


def fraction(value: Fraction) -> bytes:
    """Return the encoding of a fraction."""
    return rational(value.numerator, value.denominator)


def wide_real(value: Any) -> bytes:
    """Return the encoding of a float of another width, exactly."""
    if value != value:  # noqa: PLR0124 - NaN
        return NAN
    if value in {inf, -inf}:
        return INFINITY if value > 0 else NEGATIVE_INFINITY
    return rational(*value.as_integer_ratio())


def wide_cartesian(value: Any) -> bytes:
    """Return the encoding of a complex number of another width, exactly."""
    return wide_real(value.real) if value.imag == 0 else b"c" + wide_real(value.real) + wide_real(value.imag)


def _word(value: int) -> bytes:
    return framed(b"w", value.to_bytes((value.bit_length() + 8) >> 3, "little", signed=True))


def _coefficient(digits: tuple[int, ...]) -> int:
    """Return the integer with these digits by halves: not by way of text, which Python limits."""
    if len(digits) <= 4000:
        return int("".join(map(str, digits)) or "0")
    half = len(digits) // 2
    shift: int = 10 ** (len(digits) - half)
    return _coefficient(digits[:half]) * shift + _coefficient(digits[half:])


def _without_tens(number: int) -> tuple[int, int, int]:
    """Return a positive number without its factors 2 and 5, and how many of each it had."""
    twos = (number & -number).bit_length() - 1
    number >>= twos
    fives = 0
    while number % 5 == 0:
        power, step = 5, 1
        while number % (power * power) == 0:
            power, step = power * power, 2 * step
        number, fives = number // power, fives + step
    return number, twos, fives
