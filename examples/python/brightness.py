#!/usr/bin/env python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""Prints how bright the frames of a channel are, once a second, and how many there were: brightness.py CHANNEL [FRAMES]

NumPy reads them where the publisher wrote them. For formats whose first plane is the luma: NV12, I420, GRAY8 and their like.
"""
import itertools
import sys
import time

import cuframes
import numpy


def main(channel, count=None):
    frames, shown, frame = 0, time.monotonic(), None
    with cuframes.Subscriber(channel, delivery='latest', timeout_s=10) as subscriber:
        for frame in itertools.islice(subscriber, count):
            frames += 1
            if not frame.planes or frame.planes[0].gpu is not None or len(frame.planes[0].shape) != 2:
                raise ValueError(f'{channel}: no luma plane in host memory ({frame.format})')
            if frames == count or time.monotonic() >= shown + 1:
                shown = time.monotonic()
                print(f'frame {frame.sequence}: {frame.width}x{frame.height} {frame.format}, brightness {numpy.mean(frame.planes[0]):.1f}', flush=True)
        print(f'{frames} frames, {subscriber.stats["missed"]} missed')


if __name__ == '__main__':
    if len(sys.argv) not in (2, 3) or not all(text.isdigit() for text in sys.argv[2:]):
        sys.exit(__doc__.split('\n')[0])
    try:
        main(sys.argv[1], *map(int, sys.argv[2:]))
    except (OSError, ValueError) as error:
        sys.exit(f'brightness.py: {error}')
    except KeyboardInterrupt:
        pass
