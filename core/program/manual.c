#include "program/manual.h"

#include "config/load.h"
#include "program/commands.h"
#include "program/version.h"

#include <string.h>

/* --- the language ------------------------------------------------------------------------------------------------ */

/* A backslash begins an escape, a dash would become a hyphen, and a line that begins with a dot or a quote is an order.
 */
static void append_words(struct bytes *out, const char *text) {
    bool begins_line = out->size == 0 || out->data[out->size - 1] == '\n';
    for (; *text != 0; text++) {
        if (begins_line && (*text == '.' || *text == '\'')) {
            bytes_append_text(out, "\\&");
        }
        if (*text == '\\') {
            bytes_append_text(out, "\\e");
        } else if (*text == '-') {
            bytes_append_text(out, "\\-");
        } else {
            bytes_append_char(out, *text);
        }
        begins_line = *text == '\n';
    }
}

/* In bold, on a line of its own. */
static void append_bold(struct bytes *out, const char *text) {
    bytes_append_text(out, "\\fB");
    append_words(out, text);
    bytes_append_text(out, "\\fR");
}

/* As it stands, line by line. */
static void append_literal(struct bytes *out, const char *text) {
    size_t size = strlen(text);
    if (text[0] == '\n') {
        text++;
        size--;
    }
    bytes_append_text(out, ".nf\n");
    append_words(out, text);
    bytes_append_text(out, size > 0 && text[size - 1] == '\n' ? ".fi\n" : "\n.fi\n");
}

static void append_head(struct bytes *out, const char *title, const char *section, const char *name,
                        const char *summary) {
    bytes_printf(out, ".TH %s %s \"%s\" \"moonring ", title, section, moonring_date());
    append_words(out, moonring_version());
    bytes_append_text(out, "\"\n.SH NAME\n");
    bytes_printf(out, "%s \\- %s\n", name, summary);
}

static void append_paragraph(struct bytes *out, const char *text) {
    bytes_append_text(out, ".PP\n");
    append_words(out, text);
    bytes_append_char(out, '\n');
}

/* --- moonring(1) -------------------------------------------------------------------------------------------------- */

static void append_option(struct bytes *out, const struct option_row *option) {
    bytes_append_text(out, ".TP\n");
    if (option->letter != 0) {
        const char letter[] = {'-', option->letter, 0};
        append_bold(out, letter);
        bytes_append_text(out, ", ");
    }
    bytes_append_text(out, "\\fB\\-\\-");
    append_words(out, option->name);
    bytes_append_text(out, "\\fR");
    if (option->value != NULL) {
        bytes_append_text(out, " \\fI");
        append_words(out, option->value);
        bytes_append_text(out, "\\fR");
    }
    bytes_append_char(out, '\n');
    append_words(out, option->help);
    bytes_append_char(out, '\n');
}

static void append_command(struct bytes *out, enum command command) {
    const struct command_row *row = command_row(command);
    bytes_append_text(out, ".SS moonring ");
    append_words(out, row->name);
    bytes_append_char(out, '\n');
    append_words(out, row->summary);
    bytes_append_text(out, ".\n");
    bytes_append_text(out, ".PP\n");
    append_literal(out, row->usage);
    for (enum option option = 0; option <= OPTION_HELP; option++) {
        if (option != OPTION_HELP && option_belongs(option, command)) {
            append_option(out, option_row(option));
        }
    }
    if (row->more[0] != 0) {
        bytes_append_text(out, ".PP\n");
        append_literal(out, row->more);
    }
}

static void write_moonring_1(struct bytes *out) {
    append_head(out, "MOONRING", "1", "moonring", "a TCP reverse proxy on io_uring");
    bytes_append_text(out, ".SH SYNOPSIS\n");
    append_literal(out, command_row(COMMAND_NONE)->usage);
    bytes_append_text(out, ".SH DESCRIPTION\n");
    append_words(
        out,
        "moonring accepts connections and relays their bytes to servers. Filters written in Lua may see, change and\n"
        "route them. One file configures it, see moonring.yaml(5), and is read again while it runs.\n");
    append_paragraph(out, "Every command explains itself with --help.");
    bytes_append_text(out, ".SH COMMANDS\n");
    for (enum command command = COMMAND_RUN; command <= COMMAND_HELP; command++) {
        append_command(out, command);
    }
    bytes_append_text(out, ".SH EXIT STATUS\n");
    append_words(out, "0 fine, 1 failed while running, 2 wrong usage or configuration, 3 (ctl) nobody answers.\n");
    bytes_append_text(out, ".SH SEE ALSO\n\\fBmoonring.yaml\\fR(5)\n");
}

/* --- moonring.yaml(5) --------------------------------------------------------------------------------------------- */

static void append_key(void *argument, const struct config_key_text *text) {
    struct bytes *out = argument;
    bytes_append_text(out, ".TP\n");
    append_bold(out, text->path);
    bytes_append_char(out, '\n');
    append_words(out, text->value);
    if (text->fallback[0] != 0) {
        bytes_append_text(out, "; default: ");
        append_words(out, text->fallback);
    }
    bytes_append_text(out, ".\n.br\n");
    append_words(out, text->meaning);
    bytes_append_char(out, '\n');
}

static void write_moonring_yaml_5(struct bytes *out) {
    append_head(out, "MOONRING.YAML", "5", "moonring.yaml", "the configuration of moonring");
    bytes_append_text(out, ".SH DESCRIPTION\n");
    append_words(out, "The configuration is one YAML file. \"moonring check\" tells every mistake in it, \"moonring "
                      "config explain\" what\n"
                      "a key means. Relative paths are relative to the file that names them.\n");
    append_paragraph(
        out,
        "A duration is a number with its unit: us ms s m h d. A size has one, too: B KiB MiB GiB, or KB MB GB. "
        "\"off\"\n"
        "switches off what can be. Booleans are true and false. An address is ip:port, [v6]:port, :port to listen on\n"
        "every address, name:port for servers, unix:/path or unix:@abstract. ${VAR}, ${VAR:-fallback} and "
        "${VAR:?text}\n"
        "stand for variables of the environment, $$ for a dollar.");
    bytes_append_text(out, ".SH EXAMPLE\n");
    append_literal(out, "listeners:\n"
                        "  web:\n"
                        "    bind: \":8080\"\n"
                        "    upstream: web\n"
                        "upstreams:\n"
                        "  web:\n"
                        "    servers: [\"10.0.0.11:80\", \"10.0.0.12:80\"]\n"
                        "admin: {bind: \"unix:/run/moonring/admin.sock\"}\n");
    bytes_append_text(out, ".SH KEYS\n");
    append_words(out, "In the path of a key, * stands for a name that the file gives, and [] for an item of a list.\n");
    config_each_key(append_key, out);
    bytes_append_text(out, ".SH SEE ALSO\n\\fBmoonring\\fR(1)\n");
}

/* --- both --------------------------------------------------------------------------------------------------------- */

bool manual_write(const char *page, struct bytes *out) {
    static const struct {
        const char *name;
        void (*write)(struct bytes *out);
    } pages[] = {{"moonring.1", write_moonring_1}, {"moonring.yaml.5", write_moonring_yaml_5}};
    for (size_t i = 0; i < sizeof pages / sizeof pages[0]; i++) {
        if (strcmp(pages[i].name, page) == 0) {
            pages[i].write(out);
            return true;
        }
    }
    return false;
}
