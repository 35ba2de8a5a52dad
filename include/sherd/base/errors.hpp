#pragma once
// The kinds of failure and what each leaves usable; docs/errors.md is the long form.
#include <stdexcept>
#include <string>
#include <string_view>
#include <vector>

namespace sherd {

struct Error : std::runtime_error {
  using std::runtime_error::runtime_error;
};

/// Broken precondition of a call; nothing changed.
struct UsageError : Error {
  using Error::Error;
};

/// Bad flags or configuration, found before any work; lists every problem. Exit 2.
struct ConfigError : Error {
  explicit ConfigError(std::vector<std::string> all);
  std::vector<std::string> problems;
};

/// The plan does not fit the stated memory; `what()` names flags that fit. Exit 3.
struct CapacityError : Error {
  using Error::Error;
};

/// Content of a file or folder is bad or missing. Exit 4.
struct DataError : Error {
  using Error::Error;
};

/// A device was lost: the engine is dead. Exit 5.
struct DeviceError : Error {
  using Error::Error;
};

/// A peer or link was lost: the communicator is dead and every later call repeats the cause.
/// Exit 5.
struct CommError : Error {
  using Error::Error;
};

/// Non-finite parameters, loss scale at its minimum, or ten skipped steps in a row. Exit 6.
struct DivergedError : Error {
  using Error::Error;
};

/// Ended by a signal on request, everything clean. Exit 128 + signal.
struct Interrupted : Error {
  explicit Interrupted(int number);
  int signal;
};

[[noreturn]] void throw_usage(std::string_view message);

/// Throws UsageError with `message` ("call: got X, need Y") unless `holds`.
inline void expects(bool holds, std::string_view message) {
  if (!holds) throw_usage(message);
}

/// The documented exit code of `error` (docs/errors.md): 1 for anything unknown.
[[nodiscard]] int exit_code(const std::exception& error) noexcept;

}  // namespace sherd
