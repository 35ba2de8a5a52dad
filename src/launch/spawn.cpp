#include "sherd/launch/spawn.hpp"

#include <fcntl.h>
#include <sys/prctl.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>

#include "sherd/base/errors.hpp"

namespace sherd::launch {
namespace {

std::vector<char*> pointers(std::vector<std::string>& strings) {
  std::vector<char*> list;
  list.reserve(strings.size() + 1);
  for (std::string& text : strings) list.push_back(text.data());
  list.push_back(nullptr);
  return list;
}

// Between fork and exec: only calls that are safe after a fork.
[[noreturn]] void become(const char* path, char* const* arguments, char* const* variables,
                         const RankEnvironment& seat, const sigset_t& mask, pid_t parent) {
  prctl(PR_SET_PDEATHSIG, SIGKILL);
  if (getppid() != parent) _exit(127);  // it died before the line above
  // A terminal and most job managers signal the whole group; the supervisor passes it on in order.
  signal(SIGINT, SIG_IGN);
  signal(SIGTERM, SIG_IGN);
  signal(SIGUSR1, SIG_IGN);
  signal(SIGPIPE, SIG_IGN);  // a reader of progress that leaves must not end the training
  signal(SIGXFSZ, SIG_IGN);  // a file that may not grow is an error with a name
  sigprocmask(SIG_SETMASK, &mask, nullptr);
  fcntl(seat.control_fd, F_SETFD, 0);
  for (const int fd : seat.arena_fds) fcntl(fd, F_SETFD, 0);
  for (const int fd : {seat.id_from, seat.id_to}) fcntl(fd, F_SETFD, 0);
  execve(path, arguments, variables);
  _exit(127);
}

// glibc before 2.38 keeps what is left over of an aligned block in its cache of small pieces, so
// the block is not whole again when it is freed (its bug 14581): with the work space of the
// library's products a thread's heap then grows to tens of MiB that no plan knows.
std::string tunables(const std::vector<std::string>& environment) {
  constexpr std::string_view ours = "glibc.malloc.tcache_count";
  const auto given = std::ranges::find_if(
      environment, [](const std::string& one) { return one.starts_with("GLIBC_TUNABLES="); });
  if (given == environment.end()) return std::string(ours) + "=0";
  std::string theirs = given->substr(given->find('=') + 1);
  if (theirs.find(ours) != std::string::npos) return theirs;
  return theirs + ":" + std::string(ours) + "=0";
}

}  // namespace

std::vector<std::string> environment_for(const RankProgram& program, const RankEnvironment& seat) {
  const std::array<std::pair<std::string, std::string>, 5> own{
      {{rank_variable, format(seat)},
       {"OMP_NUM_THREADS", "1"},
       {"OMP_WAIT_POLICY", "passive"},
       {"OMP_PROC_BIND", "false"},
       {"GLIBC_TUNABLES", tunables(program.environment)}}};
  std::vector<std::string> variables = program.environment;
  std::erase_if(variables, [&](const std::string& variable) {
    const std::string name = variable.substr(0, variable.find('='));
    return std::any_of(own.begin(), own.end(), [&](const auto& one) { return one.first == name; });
  });
  for (const auto& [name, value] : own) variables.push_back(name + "=" + value);
  return variables;
}

pid_t spawn(const RankProgram& program, const RankEnvironment& seat, const sigset_t& mask) {
  std::vector<std::string> arguments = program.arguments;
  std::vector<std::string> variables = environment_for(program, seat);
  const std::vector<char*> argv = pointers(arguments), envp = pointers(variables);
  const pid_t parent = getpid();
  const pid_t child = fork();
  if (child == 0) become(program.path.c_str(), argv.data(), envp.data(), seat, mask, parent);
  if (child < 0) {
    throw CommError("spawn: cannot start rank " + std::to_string(seat.rank) + " of " +
                    std::to_string(seat.world) + ": " + std::strerror(errno));
  }
  return child;
}

}  // namespace sherd::launch
