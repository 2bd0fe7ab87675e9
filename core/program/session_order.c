#include "program/session_order.h"

#include "base/units.h"
#include "program/admin.h"

static bool limit_parse(const struct arguments *order, uint64_t *limit, struct error *error) {
    const char *text = order->given[OPTION_LIMIT];
    *limit = 0;
    return text == NULL || units_parse_integer(text, 1, UINT32_MAX, limit, error) || error_prefix(error, "--limit: ");
}

/* Who means everything has to say so. */
static bool is_meant(const struct arguments *order, const struct selection *selection, struct error *error) {
    bool all = order->given[OPTION_ALL] != NULL;
    bool everything = selection_is_everything(selection);
    if (order->command != COMMAND_CTL_KILL || all == everything) {
        return true;
    }
    return error_set(error, all ? "--all and a filter exclude each other"
                                : "which sessions? Name them by filters (see: moonring ctl kill --help), or say --all");
}

static int refuse(const struct arguments *order, const struct error *error, struct bytes *answer) {
    bytes_printf(answer, "%s: %s\n", command_second_word(order->command), error->text);
    return ADMIN_REFUSED;
}

static enum look_action action_of(const struct arguments *order) {
    if (order->command == COMMAND_CTL_KILL) {
        return LOOK_KILL;
    }
    return order->given[OPTION_JSON] != NULL ? LOOK_JSON : LOOK_CELLS;
}

int session_order_obey(struct session_order *session_order, struct crew *crew, uint32_t walk,
                       const struct arguments *order, struct bytes *answer) {
    struct selection selection;
    struct error error;
    uint64_t limit;
    if (!selection_parse(&selection, order, &error) || !limit_parse(order, &limit, &error) ||
        !is_meant(order, &selection, &error)) {
        return refuse(order, &error, answer);
    }
    enum look_action action = action_of(order);
    if (!listing_begin(&session_order->listing, crew, &selection, action, walk, limit)) {
        error_set(&error, "memory is short");
        return refuse(order, &error, answer);
    }
    session_order->json = order->given[OPTION_JSON] != NULL;
    if (action == LOOK_CELLS) {
        bytes_append_text(answer, look_head());
    } else if (action == LOOK_JSON) {
        bytes_append_text(answer, "{\"sessions\": [");
    }
    return session_order_go_on(session_order, answer);
}

static void tell_end(const struct session_order *session_order, struct bytes *answer) {
    const struct listing *listing = &session_order->listing;
    unsigned long killed = (unsigned long)listing->killed;
    unsigned long rows = (unsigned long)listing->rows;
    if (listing->look.action == LOOK_KILL) {
        bytes_printf(answer, session_order->json ? "{\"killed\": %lu}\n" : "killed: %lu\n", killed);
    } else if (session_order->json) {
        bytes_append_text(answer, "\n]}\n");
    } else if (listing->rows_left == 0) {
        bytes_printf(answer, "\nsessions: %lu, the oldest; --limit leaves out the others\n", rows);
    } else {
        bytes_printf(answer, "\nsessions: %lu\n", rows);
    }
}

int session_order_go_on(struct session_order *session_order, struct bytes *answer) {
    struct error error;
    switch (listing_go_on(&session_order->listing, answer, &error)) {
    case LISTING_GOES_ON:
        return ADMIN_GOES_ON;
    case LISTING_DONE:
        tell_end(session_order, answer);
        session_order_end(session_order);
        return ADMIN_DONE;
    case LISTING_FAILED:
        break;
    }
    bytes_printf(answer, "\nthis is not all: %s\n", error.text);
    session_order_end(session_order);
    return ADMIN_REFUSED;
}

void session_order_end(struct session_order *session_order) {
    listing_end(&session_order->listing);
}
