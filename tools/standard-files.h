/* SPDX-License-Identifier: LGPL-2.1-or-later */
#ifndef STANDARD_FILES_H
#define STANDARD_FILES_H

#include <stdbool.h>

bool standard_files_hold (void);

#endif
