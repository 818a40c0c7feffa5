/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Where lines go that perhaps nobody reads. Main thread. */
#ifndef PUBLISH_OUTLET_H
#define PUBLISH_OUTLET_H

#include <glib.h>

typedef struct
{
  gint fd;
  gint own_fd;                  /* the same opened anew so that it does not block, or -1 */
  gboolean is_socket;
  GString *rest;                /* of a line that was taken in part */
} PublishOutlet;

void publish_outlet_init (PublishOutlet * self, gint fd);
void publish_outlet_clear (PublishOutlet * self);
gint publish_outlet_put (PublishOutlet * self, const gchar * line, gsize byte_count);

#endif
