/* SPDX-License-Identifier: LGPL-2.1-or-later */
#ifndef CUFRAMES_ADDRESS_H
#define CUFRAMES_ADDRESS_H

#include <stddef.h>
#include <sys/socket.h>
#include <sys/un.h>

int cuframes_address_set (const char *path, struct sockaddr_un *ret_address, socklen_t * ret_length);

#endif
