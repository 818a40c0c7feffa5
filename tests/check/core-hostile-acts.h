/* SPDX-License-Identifier: LGPL-2.1-or-later */
#ifndef CORE_HOSTILE_ACTS_H
#define CORE_HOSTILE_ACTS_H

/* ACT: a role of core-hostile.c. 0 when it has done what it does, else what went wrong. */
int play_attacker (int argc, char **argv);

#endif
