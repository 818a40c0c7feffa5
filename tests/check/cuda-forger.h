/* SPDX-License-Identifier: LGPL-2.1-or-later */
#ifndef CUDA_FORGER_H
#define CUDA_FORGER_H

/* PATH, CAPS, most leases: a publisher of frames in GPU memory whose caps are what they are told to be. Publishes one at each "publish". */
int play_forger (int argc, char **argv);

#endif
