/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The whole public interface of libgstcuframes. */
#pragma once

#include <gstcuframeshostallocator.h>
#include <gstcuframespool.h>
