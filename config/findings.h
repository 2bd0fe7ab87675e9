/* What is wrong with a configuration: collected while it is read, reported in the order of its lines. */
#ifndef MOONRING_CONFIG_FINDINGS_H
#define MOONRING_CONFIG_FINDINGS_H

#include "config/arena.h"
#include "config/codes.h"
#include "config/load.h"
#include "config/source.h"

enum { FINDINGS_SHOWN_MAX = 50 }; /* of errors, and of warnings */

struct finding {
    enum code code;
    struct span span; /* line 0: a file as a whole */
    const char *message;
    const char *hint; /* behind the carets; NULL: none */
    struct span note_span;
    const char *note; /* a second place, shown below; NULL: none */
    size_t order;
};

struct findings {
    struct arena *arena;         /* of the texts */
    const struct source *source; /* of the file that was named */
    struct finding *shown;       /* the arena's */
    size_t shown_count;
    struct finding *last; /* the one added last; NULL when it was left out */
    struct bytes scratch; /* see findings_scratch */
    size_t errors_count;
    size_t warnings_count;
};

void findings_init(struct findings *findings, struct arena *arena, const struct source *source);
/* To be called also after a jump out of the arena; on zeroed memory, too. */
void findings_finish(struct findings *findings);

/* Empty, and ours until the next call of this or findings_quote: a text can be put together there before the arena gets
 * it, and a jump out of the arena leaves nothing behind. */
struct bytes *findings_scratch(struct findings *findings);

/* Adds an error or a warning, as the code has it. The hint is copied; NULL and "" are none. What was said before about
 * the same place is left out, and beyond FINDINGS_SHOWN_MAX they are only counted. */
void findings_add(struct findings *findings, enum code code, struct span span, const char *hint, const char *format,
                  ...) __attribute__((format(printf, 5, 6)));

/* Gives the finding added last a second place. The note is a constant. */
void findings_note(struct findings *findings, struct span span, const char *note);

/* Further errors will only be counted: what is worth saying about them need not be found out. */
bool findings_are_full(const struct findings *findings);

/* Text in quotes for a message; the arena's. */
const char *findings_quote(struct findings *findings, const char *text);

/* Appends all to the report, then the line that counts them. */
void findings_report(struct findings *findings, struct config_report *report);

#endif
