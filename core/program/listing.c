#include "program/listing.h"

#include <stdlib.h>

enum { ANSWER_MS = 2000 };

bool listing_begin(struct listing *listing, struct crew *crew, const struct selection *selection,
                   enum look_action action, uint32_t walk, uint64_t rows_max) {
    struct listing_part *parts = calloc(crew->places_count, sizeof *parts);
    if (parts == NULL) {
        return false;
    }
    *listing = (struct listing){.crew = crew,
                                .look = {.selection = *selection, .action = action, .walk = walk},
                                .parts = parts,
                                .parts_count = crew->places_count,
                                .rows_left = rows_max == 0 ? UINT64_MAX : rows_max};
    for (uint32_t i = 0; i < listing->parts_count; i++) {
        portion_init(&parts[i].portion);
    }
    return true;
}

void listing_end(struct listing *listing) {
    for (uint32_t i = 0; i < listing->parts_count; i++) {
        portion_finish(&listing->parts[i].portion);
    }
    free(listing->parts);
    *listing = (struct listing){.crew = NULL};
}

static bool part_is_empty(const struct listing_part *part) {
    return part->next == part->portion.rows_count;
}

static bool part_is_over(const struct listing_part *part) {
    return part_is_empty(part) && part->begun && part->portion.is_last;
}

/* Asks each worker of which nothing is left for a portion. */
static bool listing_fill(struct listing *listing, struct error *error) {
    for (uint32_t place = 0; place < listing->parts_count; place++) {
        struct listing_part *part = &listing->parts[place];
        if (!part_is_empty(part) || part_is_over(part)) {
            continue;
        }
        listing->look.begins = !part->begun;
        part->begun = true;
        part->next = 0;
        if (!crew_look(listing->crew, place, &listing->look, ANSWER_MS, &part->portion, error)) {
            return false;
        }
        listing->killed += part->portion.killed;
    }
    return true;
}

/* The one whose next row is the oldest; NULL: first one has to be filled again, or all are over. */
static struct listing_part *listing_next_part(struct listing *listing) {
    struct listing_part *oldest = NULL;
    for (uint32_t i = 0; i < listing->parts_count; i++) {
        struct listing_part *part = &listing->parts[i];
        if (part_is_empty(part) && !part_is_over(part)) {
            return NULL;
        }
        bool is_older = !part_is_empty(part) && (oldest == NULL || part->portion.rows[part->next].started_us <
                                                                       oldest->portion.rows[oldest->next].started_us);
        oldest = is_older ? part : oldest;
    }
    return oldest;
}

static void listing_tell_row(struct listing *listing, struct listing_part *part, struct bytes *out) {
    const struct portion *portion = &part->portion;
    size_t begin = part->next == 0 ? 0 : portion->rows[part->next - 1].end;
    if (listing->look.action == LOOK_JSON) {
        bytes_append_text(out, listing->rows == 0 ? "\n" : ",\n");
    }
    bytes_append(out, portion->text.data + begin, portion->rows[part->next].end - begin);
    part->next++;
    listing->rows++;
    listing->rows_left--;
}

static bool listing_is_over(const struct listing *listing) {
    for (uint32_t i = 0; i < listing->parts_count; i++) {
        if (!part_is_over(&listing->parts[i])) {
            return false;
        }
    }
    return true;
}

enum listing_result listing_go_on(struct listing *listing, struct bytes *out, struct error *error) {
    if (!listing_fill(listing, error)) {
        return LISTING_FAILED;
    }
    struct listing_part *part;
    while (listing->rows_left > 0 && (part = listing_next_part(listing)) != NULL) {
        listing_tell_row(listing, part, out);
    }
    return listing->rows_left == 0 || listing_is_over(listing) ? LISTING_DONE : LISTING_GOES_ON;
}
