#pragma once
// `sherd checkpoint`: what is in one, whether it is intact, and how two differ.
#include <string>

namespace CLI {
class App;
}

namespace sherd::cli {

/// The command and its flags. A folder is a checkpoint's, or one of `--save`: then its newest.
///
/// **Errors** DataError (exit 4) for what is damaged or no checkpoint.
class CheckpointCommand {
 public:
  explicit CheckpointCommand(CLI::App& app);
  CheckpointCommand(const CheckpointCommand&) = delete;
  CheckpointCommand& operator=(const CheckpointCommand&) = delete;

  [[nodiscard]] bool parsed() const;
  int run();

 private:
  int inspect() const;
  int verify() const;
  int diff() const;

  CLI::App *group_, *inspect_, *verify_, *diff_;
  std::string folder_, other_;
  bool json_ = false;
};

}  // namespace sherd::cli
