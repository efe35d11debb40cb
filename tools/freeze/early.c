/*
 * Linked into PyInstaller's boot loader (tools/freeze/loader.py does it): asks cnid first.
 *
 * The boot loader sets LD_LIBRARY_PATH to the runtime directory and executes itself a second time;
 * only then it loads the interpreter. Where cnid's socket is there, this comes before that second
 * time: it starts no more of the interpreter than its core (PEP 587, multi-phase initialization),
 * which takes half the time of all of it, and lets it run cnilib/cnid/client.py. When that returns,
 * nobody has taken the call, and the boot loader goes on as if this file were not there; so it does
 * when anything here fails.
 */
#include <Python.h>
#include <dlfcn.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/signalfd.h>
#include <unistd.h>

static const char client[] =
	"import marshal, posix\n"
	"directory = posix.environ[b'LD_LIBRARY_PATH'].partition(b':')[0]\n"
	"file = posix.open(directory + b'/client.bin', posix.O_RDONLY | posix.O_CLOEXEC)\n"
	"exec(marshal.loads(posix.read(file, 1 << 16)))\n"
	"posix.close(file)\n"
	"main(directory.decode('utf-8', 'surrogateescape'), %d)\n";

/* What libpython needs, so that it is the bundled one although LD_LIBRARY_PATH was not there yet. */
static const char *const libraries[] = {"libz.so.1", "libexpat.so.1", PYTHON_LIBRARY};

/*
 * VERSION is answered faster than it is asked; a daemon is the only program with arguments. Where a
 * standard stream is closed, what is opened here would take its place.
 */
static bool is_for_cnid(char *const arguments[])
{
	const char *command = getenv("CNI_COMMAND"), *wanted = getenv("CNI_PLUGIN_CNID");

	for (int stream = 0; stream < 3; stream++)
		if (fcntl(stream, F_GETFD) < 0)
			return false;
	return command && *command && strcmp(command, "VERSION") != 0
		&& !(wanted && strcmp(wanted, "off") == 0)
		&& !(arguments[0] && arguments[1]) && access(CNID_SOCKET, F_OK) == 0;
}

static void *load_python(void)
{
	const char *directory = getenv("LD_LIBRARY_PATH");
	char path[PATH_MAX];
	void *last = NULL;

	for (size_t i = 0; directory && i < sizeof libraries / sizeof *libraries; i++) {
		snprintf(path, sizeof path, "%.*s/%s", (int)strcspn(directory, ":"), directory, libraries[i]);
		last = dlopen(path, RTLD_LAZY | RTLD_GLOBAL);
	}
	return last;
}

#define PYTHON(function) \
	__typeof__(function) *const own_##function = (__typeof__(function) *)dlsym(python, #function); \
	if (!own_##function) \
		return

static void run_client(void *python, int terminations)
{
	PyPreConfig early;
	PyConfig config;
	char program[sizeof client + 16];

	PYTHON(PyPreConfig_InitIsolatedConfig);
	PYTHON(Py_PreInitialize);
	PYTHON(PyConfig_InitIsolatedConfig);
	PYTHON(Py_InitializeFromConfig);
	PYTHON(PyStatus_Exception);
	PYTHON(PyRun_SimpleStringFlags);

	own_PyPreConfig_InitIsolatedConfig(&early);
	early.utf8_mode = 1; /* as the options in build.spec */
	if (own_PyStatus_Exception(own_Py_PreInitialize(&early)))
		return;
	own_PyConfig_InitIsolatedConfig(&config);
	config._init_main = 0;
	if (own_PyStatus_Exception(own_Py_InitializeFromConfig(&config)))
		return;
	snprintf(program, sizeof program, client, terminations);
	own_PyRun_SimpleStringFlags(program, NULL);
}

/* The core has no signal module: SIGTERM and SIGINT arrive on a descriptor instead. */
static void ask_cnid(void)
{
	void *python = load_python();
	sigset_t ending, before;
	int terminations;

	if (!python)
		return;
	sigemptyset(&ending);
	sigaddset(&ending, SIGTERM);
	sigaddset(&ending, SIGINT);
	sigprocmask(SIG_BLOCK, &ending, &before);
	terminations = signalfd(-1, &ending, SFD_CLOEXEC);
	if (terminations >= 0) {
		run_client(python, terminations);
		close(terminations);
	}
	sigprocmask(SIG_SETMASK, &before, NULL);
}

int __real_execvp(const char *file, char *const arguments[]);

/* The linker sends the boot loader's calls of execvp here (--wrap). */
int __wrap_execvp(const char *file, char *const arguments[])
{
	if (is_for_cnid(arguments))
		ask_cnid();
	return __real_execvp(file, arguments);
}
