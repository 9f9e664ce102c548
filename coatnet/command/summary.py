"""Prints a model row by row, without building it in memory.

coatnet summary -S model.layout=CCCT
"""

import argparse
import gc

from ..errors import UserError
from ..params import load_params
from ..reporting.summary import summarise
from .presets import PRESETS, add_overrides, read_overrides


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add_overrides(parser, "change a parameter")
    parser.add_argument("--preset", help=f"a set of parameters from {PRESETS}")
    parser.add_argument("--classes", type=int, default=200, help="default: %(default)s")


def run(options: argparse.Namespace) -> None:
    if options.classes < 1:
        raise UserError(f"--classes {options.classes} is less than 1")
    gc.disable()  # torch makes so many objects, all to stay, that looking through them takes a third of the time
    params = load_params(overrides=read_overrides(options.set, options.preset)).model
    print(f"| {'row':24} | {'output (C, H, W)':>16} | {'parameters':>12} | {'multiply-adds':>15} |")
    print(f"| {'-' * 24} | {'-' * 15}: | {'-' * 11}: | {'-' * 14}: |")
    for name, shape, parameters, macs in summarise(params, options.classes):
        print(f"| {name:24} | {' x '.join(map(str, shape)):>16} | {parameters:12,} | {macs:15,} |")
    gc.freeze()  # nor look through them at the end
