/* `${NAME}`, `${NAME:-default}`, `${NAME:?message}` and `$$` in values: what the environment says, put in after the
 * YAML has been read, so that no value of a variable can become structure. */
#ifndef MOONRING_CONFIG_VARIABLES_H
#define MOONRING_CONFIG_VARIABLES_H

#include "config/findings.h"

/* The text with all of them replaced, in the memory of the findings; the same one when it has none. A dollar before
 * anything else than `{`, a letter or `_` stays what it is. NULL: what is wrong is reported at the span. */
const char *variables_replace(const char *text, struct span span, struct findings *findings);

/* Appends the text so that variables_replace gives it back. */
void variables_escape(const char *text, struct bytes *out);

#endif
