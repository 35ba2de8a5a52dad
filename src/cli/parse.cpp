#include <fcntl.h>
#include <unistd.h>

#include <csignal>
#include <cstdio>
#include <iostream>

#include "cli/run_flags.hpp"
#include "sherd/base/errors.hpp"
#include "sherd/base/log.hpp"
#include "sherd/base/suggest.hpp"

namespace sherd::cli {
namespace {

using Problems = std::vector<std::string>;

/// The app and the subcommands that were called, outermost first.
std::vector<CLI::App*> called(CLI::App& app) {
  std::vector<CLI::App*> chain = {&app};
  for (auto inner = app.get_subcommands(); !inner.empty(); inner = inner[0]->get_subcommands())
    chain.push_back(inner[0]);
  return chain;
}

const auto every_app = [](CLI::App*) { return true; };

RunFlags* run_flags_of(CLI::App& app) {
  for (CLI::App* inner : app.get_subcommands(every_app))
    if (auto* flags = dynamic_cast<RunFlags*>(inner)) return flags;
  return nullptr;
}

/// Unknown flags must not stop the parser, and run flags wait until it is through.
void prepare(CLI::App& app) {
  app.allow_extras();
  for (CLI::App* inner : app.get_subcommands(every_app)) {
    if (auto* flags = dynamic_cast<RunFlags*>(inner))
      flags->collect();
    else
      prepare(*inner);
  }
}

std::vector<std::string> flags_of(const CLI::App& app) {
  std::vector<std::string> flags;
  for (const CLI::Option* option : app.get_options())
    for (const std::string& name : option->get_lnames()) flags.push_back("--" + name);
  return flags;
}

void find_unknown(CLI::App& app, Problems& problems) {
  std::vector<std::string> commands;
  for (const CLI::App* inner : app.get_subcommands(every_app))
    if (!inner->get_name().empty()) commands.push_back(inner->get_name());
  bool after_flag = false;  // what follows an unknown flag is most likely its value
  for (const std::string& word : app.remaining()) {
    if (word.size() > 1 && word.front() == '-') {
      const std::string flag = word.substr(0, word.find('='));
      if (flag != "--")
        problems.push_back(flag + ": unknown flag" + did_you_mean(flag, flags_of(app)));
      after_flag = flag == word;
    } else if (!after_flag) {
      problems.push_back("'" + word +
                         "': " + (commands.empty() ? "belongs to no flag" : "unknown command") +
                         did_you_mean(word, commands));
    }
  }
}

Parsed print(const std::string& text) {
  std::fputs(text.c_str(), stdout);
  if (text.empty() || text.back() != '\n') std::fputc('\n', stdout);
  std::fflush(stdout);
  return Parsed::finished;
}

void report(std::string_view message) {
  while (!message.empty()) {
    const std::size_t end = std::min(message.find('\n'), message.size());
    log::error(message.substr(0, end));
    message.remove_prefix(std::min(end + 1, message.size()));
  }
}

// A descriptor that was closed would go to the next file opened: an arena, printed into.
void hold_standard_streams() {
  int fd = 0;
  while (fd >= 0 && fd <= STDERR_FILENO) fd = open("/dev/null", O_RDWR);
  if (fd >= 0) close(fd);
}

// Results that nobody got are no success.
int delivered(int code) {
  const bool good =
      std::cout.flush().good() && std::fflush(stdout) == 0 && std::ferror(stdout) == 0;
  if (good || code != 0) return code;
  report("cannot write to stdout");
  return 1;
}

}  // namespace

Parsed parse(CLI::App& app, int argc, const char* const* argv) {
  prepare(app);
  Problems problems;
  try {
    app.parse(argc, argv);
  } catch (const CLI::CallForHelp&) {
    return print(app.help());
  } catch (const CLI::CallForAllHelp&) {
    return print(app.help("", CLI::AppFormatMode::All));
  } catch (const CLI::CallForVersion& version) {
    return print(version.what());
  } catch (const CLI::ParseError& error) {
    problems.emplace_back(error.what());
  }
  RunFlags* flags = nullptr;
  for (CLI::App* one : called(app)) {
    find_unknown(*one, problems);
    if (RunFlags* found = run_flags_of(*one)) flags = found;
  }
  if (flags != nullptr) flags->apply(problems);
  if (!problems.empty()) throw ConfigError(std::move(problems));
  if (flags == nullptr) return Parsed::run;
  log::set_quiet(flags->config().output.quiet);
  return flags->prints_config() ? print(flags->dump()) : Parsed::run;
}

int guarded(const std::function<int()>& body) {
  try {
    return body();
  } catch (const std::exception& error) {
    report(error.what());
    return exit_code(error);
  } catch (...) {
    report("stopped by an unknown exception");
    return 1;
  }
}

int run(CLI::App& app, int argc, const char* const* argv, const std::function<int()>& body) {
  hold_standard_streams();
  std::signal(SIGXFSZ, SIG_IGN);  // a file that may not grow is an error with a name
  return delivered(
      guarded([&] { return parse(app, argc, argv) == Parsed::finished ? 0 : body(); }));
}

}  // namespace sherd::cli
