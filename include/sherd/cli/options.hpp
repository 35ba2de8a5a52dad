#pragma once
// The flags of a run, for `sherd` and for programs with networks of their own.
#include <functional>

#include "sherd/launch/run_config.hpp"

namespace CLI {
class App;
}

namespace sherd::cli {

/// What a program offers and needs.
struct RunOptions {
  bool zoo = false;         // --model and its sizes; a program with its own network has none
  bool needs_data = false;  // refuse to start without --data
  launch::Purpose purpose = launch::Purpose::train;
};

/// Adds a flag for every field of `config`, and `--config FILE` and `--print-config`.
///
/// **Memory** `config` outlives `app`; it is filled by parse(), or by a plain `app.parse()`, which
/// throws one CLI::ValidationError with all problems of these flags.
void add_run_options(CLI::App& app, launch::RunConfig& config, RunOptions wanted = {});

/// `finished`: help, version or the configuration was printed and there is nothing left to do.
enum class Parsed { run, finished };

/// Reads the whole command line: `--config` first, flags over it, then launch::check.
///
/// **Errors** ConfigError with every problem: unknown flags and keys, bad values, excluding flags.
Parsed parse(CLI::App& app, int argc, const char* const* argv);

/// The exit code of `body`, or of what it threw, which goes to stderr line by line.
int guarded(const std::function<int()>& body);

/// All of a `main`: parse(), then `body`, guarded.
int run(CLI::App& app, int argc, const char* const* argv, const std::function<int()>& body);

}  // namespace sherd::cli
