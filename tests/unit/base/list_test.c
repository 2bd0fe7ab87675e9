#include "base/list.h"

#include <criterion/criterion.h>
#include <string.h>

struct letter {
    char character;
    struct link link;
};

/* Three letters in a list. */
struct word {
    struct list list;
    struct letter letters[3];
    char text[4];
};

static void word_init(struct word *word) {
    list_init(&word->list);
    for (int index = 0; index < 3; index++) {
        word->letters[index].character = (char)('a' + index);
        list_append(&word->list, &word->letters[index].link);
    }
}

/* The letters that the list has now, first to last. */
static const char *word_text(struct word *word) {
    size_t length = 0;
    list_for_each (link, &word->list) {
        word->text[length] = container_of(link, struct letter, link)->character;
        length++;
    }
    word->text[length] = 0;
    return word->text;
}

Test(list, is_empty_at_first, .timeout = 10) {
    struct list list;
    list_init(&list);
    cr_assert(list_is_empty(&list));
    cr_assert_null(list_first(&list));
    cr_assert_null(list_pop(&list));
}

Test(list, keeps_the_order_of_appending, .timeout = 10) {
    struct word word;
    word_init(&word);
    cr_assert_not(list_is_empty(&word.list));
    cr_assert_str_eq(word_text(&word), "abc");
    cr_assert_eq(list_first(&word.list), &word.letters[0].link);
}

Test(list, prepends_before_the_first, .timeout = 10) {
    struct word word;
    word_init(&word);
    link_remove(&word.letters[2].link);
    list_prepend(&word.list, &word.letters[2].link);
    cr_assert_str_eq(word_text(&word), "cab");
}

Test(list, pops_from_the_front, .timeout = 10) {
    struct word word;
    word_init(&word);
    cr_assert_eq(list_pop(&word.list), &word.letters[0].link);
    cr_assert_not(link_is_in_list(&word.letters[0].link));
    cr_assert_str_eq(word_text(&word), "bc");
}

Test(list, removes_first_middle_and_last, .timeout = 10) {
    for (int removed = 0; removed < 3; removed++) {
        struct word word;
        word_init(&word);
        link_remove(&word.letters[removed].link);
        cr_assert_not(link_is_in_list(&word.letters[removed].link));
        cr_assert_str_eq(word_text(&word), removed == 0 ? "bc" : removed == 1 ? "ac" : "ab");
    }
}

Test(list, removing_a_link_twice_is_harmless, .timeout = 10) {
    struct word word;
    word_init(&word);
    link_remove(&word.letters[1].link);
    link_remove(&word.letters[1].link);
    cr_assert_str_eq(word_text(&word), "ac");
}

Test(list, a_removed_link_can_be_appended_again, .timeout = 10) {
    struct word word;
    word_init(&word);
    link_remove(&word.letters[0].link);
    list_append(&word.list, &word.letters[0].link);
    cr_assert_str_eq(word_text(&word), "bca");
}

Test(list, the_body_of_a_loop_may_remove_its_link, .timeout = 10) {
    struct word word;
    word_init(&word);
    int visited = 0;
    list_for_each (link, &word.list) {
        link_remove(link);
        visited++;
    }
    cr_assert_eq(visited, 3);
    cr_assert(list_is_empty(&word.list));
}
