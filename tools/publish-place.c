/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Tells cameras, files and devices apart before anything is opened, and keeps passwords out of what is printed. Knows nothing of pipelines. */
#include "publish-place.h"

#include <errno.h>
#include <fcntl.h>
#include <gst/gst.h>
#include <linux/videodev2.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <unistd.h>

G_DEFINE_QUARK (publish-place-error-quark, publish_place_error)

static bool
refuse (GError **error, PublishPlaceError code, const char *what, const char *why)
{
  g_set_error (error, PUBLISH_PLACE_ERROR, code, "%s: %s", what, why);
  return false;
}

/* What stands between "//" and "@", and the URI without it. */
static void
split_secret (PublishPlace *self)
{
  const gchar *authority = strstr (self->location, "://") + 3, *end = authority + strcspn (authority, "/?#"), *at = end;

  while (at > authority && at[-1] != '@')
    at--;
  if (at == authority) {
    self->shown = g_strdup (self->location);
    return;
  }
  self->secret = g_strndup (authority, (gsize) (at - authority));
  self->shown = g_strdup_printf ("%.*s%s", (int) (authority - self->location), self->location, at);
}

static bool
is_camera (const char *path)
{
  struct v4l2_capability capability;
  const int fd = open (path, O_RDWR | O_NONBLOCK | O_CLOEXEC);
  const bool good = fd >= 0 && ioctl (fd, VIDIOC_QUERYCAP, &capability) == 0;

  if (fd >= 0)
    close (fd);
  return good;
}

static bool
look_at_path (PublishPlace *self, GError **error)
{
  struct stat status;

  self->shown = g_strdup (self->location);
  if (stat (self->location, &status) != 0 || access (self->location, R_OK) != 0)
    return refuse (error, PUBLISH_PLACE_ERROR_CLOSED, self->location, g_strerror (errno));
  if (S_ISDIR (status.st_mode))
    return refuse (error, PUBLISH_PLACE_ERROR_CLOSED, self->location, "this is a directory");
  self->is_pipe = S_ISFIFO (status.st_mode);
  if (S_ISCHR (status.st_mode))
    self->kind = PUBLISH_PLACE_DEVICE;
  if (self->kind == PUBLISH_PLACE_DEVICE && !is_camera (self->location))
    return refuse (error, PUBLISH_PLACE_ERROR_CLOSED, self->location, "this is no video device");
  return true;
}

static bool
look_at_uri (PublishPlace *self, const char *text, const gchar *scheme, GError **error)
{
  self->location = g_strdup (text);
  split_secret (self);
  self->kind = g_str_has_prefix (scheme, "rtsp") ? PUBLISH_PLACE_RTSP : PUBLISH_PLACE_OTHER;
  if (gst_uri_is_valid (text) && gst_uri_protocol_is_supported (GST_URI_SRC, scheme))
    return true;
  return refuse (error, PUBLISH_PLACE_ERROR_UNKNOWN, self->shown, "no GStreamer element that is installed here opens such a URI");
}

/* After gst_init(). What is set on failure publish_place_clear() frees. */
bool
publish_place_init (PublishPlace *self, const char *text, GError **error)
{
  gchar *scheme = strstr (text, "://") != NULL ? g_ascii_strdown (text, strstr (text, "://") - text) : NULL;
  bool good;

  *self = (PublishPlace) {.kind = PUBLISH_PLACE_FILE };
  if (scheme == NULL || g_str_equal (scheme, "v4l2") || g_str_equal (scheme, "file")) {
    if (scheme == NULL)
      self->location = g_strdup (text);
    else if (scheme[0] == 'f')
      self->location = g_filename_from_uri (text, NULL, NULL);
    else {
      self->kind = PUBLISH_PLACE_DEVICE;
      self->location = g_strdup (text + strlen ("v4l2://"));
    }
    good = self->location != NULL && self->location[0] != 0 ? look_at_path (self, error)
        : refuse (error, PUBLISH_PLACE_ERROR_UNKNOWN, text, "this names no file");
  } else
    good = look_at_uri (self, text, scheme, error);
  g_free (scheme);
  return good;
}

void
publish_place_clear (PublishPlace *self)
{
  g_free (self->location);
  g_free (self->secret);
  g_free (self->shown);
  *self = (PublishPlace) { 0 };
}

/* Runs by its own clock, and is expected to come back when it goes. */
bool
publish_place_is_live (const PublishPlace *self)
{
  return self->kind == PUBLISH_PLACE_RTSP || self->kind == PUBLISH_PLACE_DEVICE;
}

/* (transfer full): the words of others, which may repeat the URI. */
gchar *
publish_place_hide_secret (const PublishPlace *self, const char *text)
{
  gchar **parts, *joined;

  if (self->secret == NULL)
    return g_strdup (text);
  parts = g_strsplit (text, self->secret, -1);
  joined = g_strjoinv ("", parts);
  g_strfreev (parts);
  return joined;
}
