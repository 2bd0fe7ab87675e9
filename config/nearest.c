#include "config/nearest.h"

#include <stdbool.h>
#include <stdint.h>
#include <string.h>

enum { LENGTH_MAX = 64, ROW = LENGTH_MAX + 1 };

static size_t smaller(size_t a, size_t b) {
    return a < b ? a : b;
}

/* Letters to insert, remove, replace, or swap with their neighbour. Both texts have at most LENGTH_MAX bytes. */
static size_t distance(const char *a, size_t a_length, const char *b, size_t b_length) {
    size_t rows[3][ROW] = {{0}}; /* of the table over both texts: this row and the two above it */
    for (size_t j = 0; j <= b_length; j++) {
        rows[0][j] = j;
    }
    for (size_t i = 1; i <= a_length; i++) {
        size_t *row = rows[i % 3];
        const size_t *above = rows[(i + 2) % 3];
        const size_t *two_above = rows[(i + 1) % 3];
        row[0] = i;
        for (size_t j = 1; j <= b_length; j++) {
            size_t replaced = above[j - 1] + (a[i - 1] != b[j - 1]);
            row[j] = smaller(replaced, smaller(above[j], row[j - 1]) + 1);
            if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1]) {
                row[j] = smaller(row[j], two_above[j - 2] + 1);
            }
        }
    }
    return rows[a_length % 3][b_length];
}

void nearest_init(struct nearest *nearest, const char *text) {
    *nearest = (struct nearest){.text = text, .best = NULL, .best_distance = SIZE_MAX};
}

void nearest_offer(struct nearest *nearest, const char *word) {
    size_t text_length = strlen(nearest->text);
    size_t word_length = strlen(word);
    if (text_length == 0 || text_length > LENGTH_MAX || word_length > LENGTH_MAX) {
        return;
    }
    size_t far = word_length < 4 ? 1 : word_length / 3; /* beyond that it is another word */
    size_t shorter = smaller(text_length, word_length);
    bool abbreviated = shorter >= 3 && memcmp(nearest->text, word, shorter) == 0;
    size_t found = abbreviated ? 1 : distance(nearest->text, text_length, word, word_length);
    if (found <= far && found < nearest->best_distance) {
        nearest->best = word;
        nearest->best_distance = found;
    }
}
