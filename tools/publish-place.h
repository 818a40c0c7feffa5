/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Where a stream comes from, as the user writes it: a URI, a file, a device. */
#ifndef PUBLISH_PLACE_H
#define PUBLISH_PLACE_H

#include <glib.h>
#include <stdbool.h>

typedef enum
{
  PUBLISH_PLACE_RTSP,
  PUBLISH_PLACE_FILE,
  PUBLISH_PLACE_DEVICE,         /* V4L2 */
  PUBLISH_PLACE_OTHER,          /* what GStreamer has an element for, HTTP among them */
} PublishPlaceKind;

typedef enum
{
  PUBLISH_PLACE_ERROR_UNKNOWN,  /* nothing opens such a thing */
  PUBLISH_PLACE_ERROR_CLOSED,   /* it cannot be opened */
} PublishPlaceError;

typedef struct
{
  PublishPlaceKind kind;
  gchar *location;              /* a path, or the URI */
  gchar *secret;                /* (nullable): user and password as they stand in the URI */
  gchar *shown;                 /* the location without them */
  gboolean is_pipe;             /* a file, but a named pipe */
} PublishPlace;

GQuark publish_place_error_quark (void);
#define PUBLISH_PLACE_ERROR publish_place_error_quark ()

bool publish_place_init (PublishPlace * self, const char *text, GError ** error);
void publish_place_clear (PublishPlace * self);
bool publish_place_is_live (const PublishPlace * self);
gchar *publish_place_hide_secret (const PublishPlace * self, const char *text);

#endif
