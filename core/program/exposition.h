/* Prometheus' text format: families of samples, each family with its two lines in front. */
#ifndef MOONRING_PROGRAM_EXPOSITION_H
#define MOONRING_PROGRAM_EXPOSITION_H

#include "base/bytes.h"

#include <stdbool.h>
#include <stdint.h>

struct exposition {
    struct bytes *out;
    const char *name; /* of the family */
    bool is_labelled; /* the sample has a label already */
};

/* Begins a family; type: counter, gauge or histogram. The name must live as long as its samples are written. */
void exposition_family(struct exposition *exposition, const char *name, const char *type, const char *help);
/* Begins a sample of the family; suffix: "", or "_bucket" and the like. Its labels follow, then its number. */
void exposition_sample(struct exposition *exposition, const char *suffix);
/* The value may be any text; bytes that are no UTF-8 become U+FFFD. */
void exposition_label(struct exposition *exposition, const char *name, const char *value);
void exposition_label_number(struct exposition *exposition, const char *name, uint64_t value);
/* Each ends the sample. */
void exposition_integer(struct exposition *exposition, uint64_t value);
void exposition_seconds(struct exposition *exposition, uint64_t us);

#endif
