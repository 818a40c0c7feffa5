/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* URIs of channels: cuframes://CHANNEL?PROPERTY=VALUE&..., or cuframes:///PATH and cuframes://@NAME for sockets elsewhere. Knows an element by
 * its properties alone. */
#include "gstcuframesuri.h"

#include <string.h>

#define SCHEME "cuframes"

static GstURIType
uri_get_type (GType type)
{
  return GST_URI_SRC;
}

static const gchar *const *
uri_get_protocols (GType type)
{
  static const gchar *const protocols[] = { SCHEME, NULL };

  return protocols;
}

static gchar *
uri_get_uri (GstURIHandler * handler)
{
  gchar *channel = NULL, *path = NULL, *escaped = NULL, *uri = NULL;

  g_object_get (handler, "channel", &channel, "socket-path", &path, NULL);
  if (path != NULL && *path != '\0')
    escaped = g_uri_escape_string (path, "/@", TRUE);
  else if (channel != NULL && *channel != '\0')
    escaped = g_uri_escape_string (channel, NULL, TRUE);
  if (escaped != NULL)
    uri = g_strconcat (SCHEME "://", escaped, NULL);
  g_free (escaped);
  g_free (channel);
  g_free (path);
  return uri;
}

/* A property of the element's own kind that can be set; where the stream comes from is the URI's other half. */
static GParamSpec *
find_property (GObject * element, const gchar * name)
{
  GParamSpec *spec = g_object_class_find_property (G_OBJECT_GET_CLASS (element), name);

  if (spec == NULL || spec->owner_type != G_OBJECT_TYPE (element) || (spec->flags & G_PARAM_WRITABLE) == 0)
    return NULL;
  return g_str_equal (name, "channel") || g_str_equal (name, "socket-path") ? NULL : spec;
}

static gboolean
take_parameter (GObject * element, const gchar * parameter, gboolean apply, GError ** error)
{
  const gchar *equals = strchr (parameter, '=');
  gchar *name = equals == NULL ? g_strdup (parameter) : g_uri_unescape_segment (parameter, equals, NULL);
  gchar *text = equals == NULL ? NULL : g_uri_unescape_string (equals + 1, NULL);
  GParamSpec *spec = name == NULL ? NULL : find_property (element, name);
  GValue value = G_VALUE_INIT;
  gboolean good = FALSE;

  if (spec != NULL && text != NULL) {
    g_value_init (&value, spec->value_type);
    good = gst_value_deserialize_with_pspec (&value, text, spec) && !g_param_value_validate (spec, &value);
    if (good && apply)
      g_object_set_property (element, name, &value);
    g_value_unset (&value);
  }
  if (spec == NULL)
    g_set_error (error, GST_URI_ERROR, GST_URI_ERROR_BAD_REFERENCE, "\"%s\" is no property that a URI of %s can set", name != NULL ? name : parameter,
        G_OBJECT_TYPE_NAME (element));
  else if (!good)
    g_set_error (error, GST_URI_ERROR, GST_URI_ERROR_BAD_REFERENCE, "\"%s\" is no value for the property \"%s\"", text != NULL ? text : "", name);
  g_free (name);
  g_free (text);
  return good;
}

static gboolean
take_query (GObject * element, const gchar * query, gboolean apply, GError ** error)
{
  gchar **parameters = g_strsplit (query, "&", -1);
  gboolean good = TRUE;

  for (guint i = 0; good && parameters[i] != NULL; i++)
    good = *parameters[i] == '\0' || take_parameter (element, parameters[i], apply, error);
  g_strfreev (parameters);
  return good;
}

/* (nullable) (transfer full): what stands between the scheme and the query. Players like to put a slash behind a name. */
static gchar *
find_name (const gchar * rest)
{
  gchar *name = g_uri_unescape_segment (rest, rest + strcspn (rest, "?#"), NULL);
  gsize length = name == NULL ? 0 : strlen (name);

  if (length > 1 && *name != '/' && *name != '@' && name[length - 1] == '/')
    name[length - 1] = '\0';
  return name;
}

static gchar *
find_query (const gchar * rest)
{
  const gchar *start = rest + strcspn (rest, "?#");

  return *start != '?' ? g_strdup ("") : g_strndup (start + 1, strcspn (start + 1, "#"));
}

static gboolean
uri_set_uri (GstURIHandler * handler, const gchar * uri, GError ** error)
{
  const gchar *rest = g_str_has_prefix (uri, SCHEME "://") ? uri + strlen (SCHEME "://") : "";
  gchar *name, *query;
  gboolean is_path;

  if (GST_STATE (handler) > GST_STATE_READY) {
    g_set_error_literal (error, GST_URI_ERROR, GST_URI_ERROR_BAD_STATE, "The URI can be set in the states NULL and READY only");
    return FALSE;
  }
  name = find_name (rest);
  if (name == NULL || *name == '\0') {
    g_set_error (error, GST_URI_ERROR, GST_URI_ERROR_BAD_URI, "\"%s\" names no channel: write " SCHEME "://CHANNEL", uri);
    g_free (name);
    return FALSE;
  }
  query = find_query (rest);
  if (!take_query (G_OBJECT (handler), query, FALSE, error)) {
    g_free (query);
    g_free (name);
    return FALSE;
  }
  is_path = *name == '/' || *name == '@';
  g_object_set (handler, "channel", is_path ? NULL : name, "socket-path", is_path ? name : NULL, NULL);
  take_query (G_OBJECT (handler), query, TRUE, NULL);
  g_free (query);
  g_free (name);
  return TRUE;
}

void
gst_cuframes_uri_handler_init (gpointer interface, gpointer data)
{
  GstURIHandlerInterface *handler = interface;

  handler->get_type = uri_get_type;
  handler->get_protocols = uri_get_protocols;
  handler->get_uri = uri_get_uri;
  handler->set_uri = uri_set_uri;
}
