#pragma once
// `--log`: one JSON object a line.
#include <fstream>
#include <string>

#include "sherd/cli/events.hpp"

namespace sherd::cli {

/// Writes events in the order they come; a non-finite number is null, any other reads back to the
/// same double. Each line is flushed. An empty path writes nothing.
///
/// **Errors** ConfigError when the file cannot be opened; Error when a line cannot be written (the
/// lines before it stay).
class EventLog {
 public:
  enum class Start : std::uint8_t { truncate, append };
  explicit EventLog(std::string path, Start start = Start::truncate);

  void write(const StartEvent& event);
  void write(const StepEvent& event);
  void write(const EvalEvent& event);
  void write(const CheckpointEvent& event);
  void write(const EndEvent& event);

 private:
  void write_line(const std::string& line);
  std::string path_;
  std::ofstream file_;
};

/// The file that a chain of links leads to, there or not; of any other path, itself.
[[nodiscard]] std::string followed(const std::string& path);
/// Why the file of `flag` could not be written; empty when it could, or when there is no path.
/// Creates nothing.
[[nodiscard]] std::string write_problem(std::string_view flag, const std::string& path);

/// `{"device":{"peak":…,…},"host":…,"file":…}`, the same in `plan --json`, `start` and `end`.
[[nodiscard]] std::string to_json(const MemoryTable& table);

/// "0.1.0", as in the `start` event and `sherd --version`.
[[nodiscard]] std::string_view version();

}  // namespace sherd::cli
