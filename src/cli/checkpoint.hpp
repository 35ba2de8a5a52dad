#pragma once
// `sherd checkpoint`: what is in one, whether it is intact, how two differ, and weights as folders
// of Hugging Face.
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
  int export_weights() const;
  int import_weights() const;

  CLI::App *group_, *inspect_, *verify_, *diff_, *export_, *import_;
  std::string folder_, other_, out_, dtype_ = "fp32", file_size_ = "5GB";
  bool json_ = false, adapters_ = false;
};

}  // namespace sherd::cli
