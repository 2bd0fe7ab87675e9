/* "Did you mean": the known word that a mistyped one is nearest to. */
#ifndef MOONRING_CONFIG_NEAREST_H
#define MOONRING_CONFIG_NEAREST_H

#include <stddef.h>

struct nearest {
    const char *text;
    const char *best; /* NULL while no word is near */
    size_t best_distance;
};

void nearest_init(struct nearest *nearest, const char *text);
void nearest_offer(struct nearest *nearest, const char *word);

#endif
