/* SPDX-License-Identifier: LGPL-2.1-or-later */
#ifndef CUFRAMES_FORK_GUARD_H
#define CUFRAMES_FORK_GUARD_H

void cuframes_fork_guard_hold (void);
void cuframes_fork_guard_let_go (void);
int cuframes_fork_guard_add (int fd);
int cuframes_fork_guard_pipe (int *ret_read_fd, int *ret_write_fd);
void cuframes_fork_guard_remove (int fd);
unsigned cuframes_fork_guard_get_depth (void);

#endif
