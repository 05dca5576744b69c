"""``ntk-nonlocal describe``: the layers of an architecture, and what its kernel costs."""

from __future__ import annotations

import argparse
import json
from typing import Any

from . import parsing

_DESCRIPTION = """\
Prints the layers of an architecture with their resolutions, how many pixels of its input one pixel of its output can
depend on, the weights of a finite network, the cost of its exact kernel in pair-layers (ordered pairs of pixels,
summed over the convolutions), and the memory it takes by memory plan."""

_EXAMPLES = """\
examples:
  ntk-nonlocal describe unet:levels=3
  ntk-nonlocal describe dip --size 256 --width 128
  ntk-nonlocal describe cnn:depth=3 --size 64x96 --time   and measure one evaluation of the kernel here"""


def add_parser(subparsers: Any) -> argparse.ArgumentParser:
    """Adds the command and its options."""
    parser: argparse.ArgumentParser = subparsers.add_parser(
        "describe",
        help="the layers of an architecture, and what its kernel costs",
        description=_DESCRIPTION,
        epilog=_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = parser.add_argument
    add("arch", type=parsing.architecture, metavar="NAME[:key=value,...]", help="architecture")
    add("--size", type=parsing.size, default=(128, 128), metavar="N|HxW", help="of the images (default: 128)")
    add("--channels", type=parsing.whole_number(1, 4096), default=3, metavar="N", help="of the images (default: 3)")
    add("--width", type=parsing.whole_number(1, 4096), default=256, metavar="N", help="channels (default: 256)")
    add("--time", action="store_true", help="measure what one evaluation of the kernel takes on this machine")
    add("--json", action="store_true", help="print the same as one JSON document")
    return parser


def run(args: argparse.Namespace) -> int:
    """Runs the command; raises ValueError on bad input."""
    from ntk_nonlocal.networks import describe

    described = describe(args.arch, (*args.size, args.channels), args.width, measure=args.time)
    if not args.quiet:
        print(json.dumps(described.as_dict(), indent=1) if args.json else described)
    return 0
