/* Preloaded into edged: fsync and fdatasync take as many milliseconds longer as the file $SLOW_FSYNC says.
   Each call that was slow adds a line to $SLOW_FSYNC.effects. Without the file, nothing is slow. */

#define _GNU_SOURCE
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <unistd.h>

static void note(const char *path)
{
    char effects[PATH_MAX];
    snprintf(effects, sizeof effects, "%s.effects", path);
    int file = open(effects, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
    if (file >= 0) {
        if (write(file, "fsync\n", 6) < 0) {}
        close(file);
    }
}

static void wait_as_told(void)
{
    char text[16] = "";
    const char *path = getenv("SLOW_FSYNC");
    int file = path ? open(path, O_RDONLY | O_CLOEXEC) : -1;
    if (file < 0)
        return;
    if (read(file, text, sizeof text - 1) < 0) {}
    close(file);
    usleep((useconds_t)atoi(text) * 1000);
    note(path);
}

int fsync(int file)
{
    wait_as_told();
    return (int)syscall(SYS_fsync, file);
}

int fdatasync(int file)
{
    wait_as_told();
    return (int)syscall(SYS_fdatasync, file);
}
