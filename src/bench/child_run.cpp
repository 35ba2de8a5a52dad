#include "sherd/bench/child_run.hpp"

#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <chrono>
#include <csignal>
#include <fstream>
#include <limits>
#include <nlohmann/json.hpp>
#include <thread>

#include "bench/buffers.hpp"
#include "sherd/base/errors.hpp"

namespace sherd::bench {
namespace {

using Clock = std::chrono::steady_clock;
using Json = nlohmann::json;

std::vector<char*> pointers(std::vector<std::string>& strings) {
  std::vector<char*> list;
  list.reserve(strings.size() + 1);
  for (std::string& text : strings) list.push_back(text.data());
  list.push_back(nullptr);
  return list;
}

pid_t start(const Children& children, std::vector<std::string> arguments) {
  std::vector<std::string> variables = children.environment;
  const std::vector<char*> argv = pointers(arguments), envp = pointers(variables);
  const pid_t parent = getpid();
  const pid_t child = fork();
  if (child < 0) throw Error("bench: cannot start a process");
  if (child > 0) return child;
  prctl(PR_SET_PDEATHSIG, SIGKILL);
  if (getppid() != parent) _exit(127);
  execve(children.program.c_str(), argv.data(), envp.data());
  _exit(127);
}

// A started process ends with this, whatever happens to us.
class Child {
 public:
  explicit Child(pid_t pid) : pid_(pid) {}
  Child(const Child&) = delete;
  Child& operator=(const Child&) = delete;
  ~Child() {
    if (pid_ < 0) return;
    kill(pid_, SIGKILL);
    waitpid(pid_, nullptr, 0);
  }

  [[nodiscard]] bool ended() {
    if (pid_ < 0) return true;
    const pid_t found = waitpid(pid_, &status_, WNOHANG);
    if (found == 0 || (found < 0 && errno == EINTR)) return false;
    pid_ = -1;
    return true;
  }
  [[nodiscard]] int exit_code() const { return WIFEXITED(status_) ? WEXITSTATUS(status_) : -1; }

 private:
  pid_t pid_;
  int status_ = 0;
};

bool has_step(const std::string& log) {
  std::ifstream file(log);
  for (std::string line; std::getline(file, line);) {
    if (line.find("\"event\":\"step\"") != std::string::npos) return true;
  }
  return false;
}

double number(const Json& value) {
  return value.is_number() ? value.get<double>() : std::numeric_limits<double>::quiet_NaN();
}

ByTier peaks(const Json& table) {
  const auto peak = [&](const char* tier) { return table.at(tier).at("peak").get<Bytes>(); };
  return {peak("device"), peak("host"), peak("file")};
}

ChildRun read_log(const std::string& log) {
  ChildRun run;
  std::ifstream file(log);
  for (std::string line; std::getline(file, line);) {
    const Json event = Json::parse(line);
    const std::string kind = event.at("event");
    if (kind == "start") {
      run.planned = peaks(event.at("plan"));
      run.runtime = event.at("plan").at("device").at("runtime");
    } else if (kind == "step") {
      run.step_seconds.push_back(number(event.at("seconds")));
      run.losses.push_back(number(event.at("loss")));
    } else if (kind == "checkpoint") {
      run.saves.push_back({number(event.at("stall_seconds")), event.at("bytes")});
    } else if (kind == "end") {
      run.parameters_hash = event.at("parameters_hash");
      run.measured = peaks(event.at("peak"));
      run.rss_peak = event.at("rss_peak");
    }
  }
  if (run.parameters_hash.empty()) throw Error("bench: a run left no end in " + log);
  return run;
}

}  // namespace

ChildRun train_in_child(const Children& children, const std::vector<std::string>& flags) {
  const std::string log = (children.folder / "run.jsonl").string();
  std::filesystem::remove(log);
  std::vector<std::string> arguments = {"sherd", "train", "--quiet", "--log", log};
  arguments.insert(arguments.end(), flags.begin(), flags.end());
  const Clock::time_point began = Clock::now();
  Child child(start(children, arguments));
  double first = 0;
  while (!child.ended()) {
    if (first == 0 && has_step(log))
      first = std::chrono::duration<double>(Clock::now() - began).count();
    std::this_thread::sleep_for(std::chrono::milliseconds(first == 0 ? 1 : 10));
  }
  if (child.exit_code() != 0) {
    std::string said;
    for (const std::string& word : arguments) said += ' ' + word;
    throw Error("bench: got exit code " + std::to_string(child.exit_code()) + " of" + said);
  }
  ChildRun run = read_log(log);
  run.seconds_to_first_step =
      first > 0 ? first : std::chrono::duration<double>(Clock::now() - began).count();
  return run;
}

std::string sample_text(const Children& children, std::int64_t count) {
  std::string path = (children.folder / ("sample-" + std::to_string(count) + ".txt")).string();
  if (std::filesystem::exists(path)) return path;
  std::ofstream file(path, std::ios::binary);
  for (std::int64_t i = 0; i < count; ++i)
    file.put(static_cast<char>(97 + static_cast<int>((sample(7, i) + 1) * 12)));
  if (!file.flush()) throw Error("bench: cannot write " + path);
  return path;
}

}  // namespace sherd::bench
