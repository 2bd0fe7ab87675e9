#include "program/completion.h"

#include "program/commands.h"

#include <string.h>

/* `run check config ...`: each first word once. */
static void append_first_words(struct bytes *out) {
    for (enum command i = COMMAND_RUN; i <= COMMAND_HELP; i++) {
        const char *name = command_row(i)->name;
        size_t size = strcspn(name, " ");
        const char *before = command_row(i - 1)->name;
        if (strncmp(before, name, size) != 0 || (before[size] != 0 && before[size] != ' ')) {
            bytes_printf(out, "%s%.*s", i == COMMAND_RUN ? "" : " ", (int)size, name);
        }
    }
}

/* A case of the script: the second words that the command has, and its options. */
static void append_case(struct bytes *out, enum command command) {
    const struct command_row *row = command_row(command);
    bytes_printf(out, "    '%s') words='", row->name);
    for (enum command i = COMMAND_RUN; i <= COMMAND_HELP; i++) {
        if (command_second_word(command) == NULL && command_second_word(i) != NULL &&
            command_has_first_word(i, row->name)) {
            bytes_printf(out, "%s ", command_second_word(i));
        }
    }
    for (enum option option = 0; option <= OPTION_HELP; option++) {
        if (option_belongs(option, command)) {
            bytes_printf(out, "--%s ", option_row(option)->name);
        }
    }
    bytes_append_text(out, "' ;;\n");
}

void completion_write(struct bytes *out) {
    bytes_append_text(
        out, "_moonring() {\n"
             "  local current=${COMP_WORDS[COMP_CWORD]} first=${COMP_WORDS[1]-} second=${COMP_WORDS[2]-} words=\n"
             "  [ \"$COMP_CWORD\" -gt 1 ] || first=\n"
             "  [ \"$COMP_CWORD\" -gt 2 ] || second=\n"
             "  case \"$first $second\" in\n"
             "    'config '*|'ctl '*) [ -z \"$second\" ] || first+=\" $second\" ;;\n"
             "  esac\n"
             "  case \"$first\" in\n"
             "    '') words='");
    append_first_words(out);
    bytes_append_text(out, "' ;;\n"
                           "    config) words='dump schema explain' ;;\n");
    for (enum command command = COMMAND_RUN; command <= COMMAND_HELP; command++) {
        append_case(out, command);
    }
    bytes_append_text(out, "  esac\n"
                           "  mapfile -t COMPREPLY < <(compgen -W \"$words\" -- \"$current\")\n"
                           "  [ ${#COMPREPLY[@]} -gt 0 ] || compopt -o default\n"
                           "}\n"
                           "complete -F _moonring moonring\n");
}
