/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* How every program here ends; in their man pages too. */
#ifndef EXIT_CODES_H
#define EXIT_CODES_H

typedef enum
{
  EXIT_CODE_DONE = 0,
  EXIT_CODE_FAILED = 1,         /* while it ran */
  EXIT_CODE_USAGE = 2,          /* the command line is wrong */
  EXIT_CODE_NO_CHANNEL = 3,     /* nobody publishes there, does not answer, or says no; or the channel cannot be opened */
  EXIT_CODE_NO_SOURCE = 4,      /* what is to be published cannot be opened or is no video */
} ExitCode;

#endif
