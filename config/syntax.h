/* Says what is wrong with text that is not YAML, in words that help more than the parser's. */
#ifndef MOONRING_CONFIG_SYNTAX_H
#define MOONRING_CONFIG_SYNTAX_H

#include "config/findings.h"

/* What the parser said: the problem's text, where it stopped, and where the construct began that it was in. */
struct syntax_error {
    const struct source *source;
    const char *problem;
    struct mark mark;
    struct mark context;
};

void syntax_explain(const struct syntax_error *error, struct findings *findings);

#endif
