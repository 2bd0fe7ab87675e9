/* ssh through moonring: a login that runs a command, and a file copied each way. */
#include "tests/support/moonring.h"
#include "tests/support/pattern.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

enum { FILE_SIZE = 20 << 20 };

struct ssh {
    struct process server;
    struct temporary folder;
    struct moonring moonring;
    char port[8]; /* moonring's */
    char key[TEMPORARY_PATH_MAX];
};

static void key_create(const struct temporary *folder, const char *name, char *path) {
    struct process process;
    process_run(&process,
                ARGUMENTS("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", temporary_path(folder, name, path)));
}

static void ssh_start(struct ssh *ssh) {
    char host_key[TEMPORARY_PATH_MAX], path[TEMPORARY_PATH_MAX], address[ADDRESS_TEXT_MAX];
    unsigned port = peer_free_port();
    temporary_create(&ssh->folder);
    key_create(&ssh->folder, "host_key", host_key);
    key_create(&ssh->folder, "user_key", ssh->key);
    temporary_write(&ssh->folder, "sshd_config",
                    "ListenAddress 127.0.0.1:%u\nHostKey %s\nAuthorizedKeysFile %s.pub\nPermitRootLogin yes\n"
                    "PasswordAuthentication no\nStrictModes no\nPidFile none\nUsePAM no\n"
                    "Subsystem sftp internal-sftp\n",
                    port, host_key, ssh->key);
    mkdir("/run/sshd", 0755); /* sshd insists on it; its service would make it */
    process_start(&ssh->server, NULL,
                  ARGUMENTS("/usr/sbin/sshd", "-D", "-e", "-f", temporary_path(&ssh->folder, "sshd_config", path)));
    process_wait_line(&ssh->server, &ssh->server.errors, "Server listening on");
    snprintf(address, sizeof(address), "127.0.0.1:%u", port);
    moonring_start(&ssh->moonring, "listeners: {ssh: {bind: '127.0.0.1:0', upstream: '%s'}}\n", address);
    snprintf(ssh->port, sizeof(ssh->port), "%s", strrchr(ssh->moonring.address, ':') + 1);
}

#define SSH_OPTIONS                                                                                                    \
    "-F", "/dev/null", "-o", "BatchMode=yes", "-o", "StrictHostKeyChecking=no", "-o", "UserKnownHostsFile=/dev/null"

Test(ssh, logs_in_and_runs_a_command, .timeout = 60) {
    struct ssh ssh;
    struct process client;
    ssh_start(&ssh);
    process_run(&client, ARGUMENTS("ssh", SSH_OPTIONS, "-i", ssh.key, "-p", ssh.port, "root@127.0.0.1",
                                   "echo $((6 * 7)) from $SSH_CONNECTION"));
    cr_assert(strstr(process_text(&client.output), "42 from 127.0.0.1") != NULL, "%s", process_text(&client.output));
    moonring_expect_session(&ssh.moonring, "listener=ssh tries=1");
    moonring_stop(&ssh.moonring);
}

Test(ssh, copies_a_file_there_and_back, .timeout = 60) {
    struct ssh ssh;
    struct process process;
    char source[TEMPORARY_PATH_MAX], there[256], back[TEMPORARY_PATH_MAX];
    ssh_start(&ssh);
    pattern_write_file(1, temporary_path(&ssh.folder, "source", source), FILE_SIZE);
    snprintf(there, sizeof(there), "root@127.0.0.1:%s/there", ssh.folder.path);
    temporary_path(&ssh.folder, "back", back);
    process_run(&process, ARGUMENTS("scp", SSH_OPTIONS, "-i", ssh.key, "-P", ssh.port, source, there));
    process_run(&process, ARGUMENTS("scp", SSH_OPTIONS, "-i", ssh.key, "-P", ssh.port, there, back));
    process_run(&process, ARGUMENTS("cmp", source, back));
    moonring_stop(&ssh.moonring);
}
