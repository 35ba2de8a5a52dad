#pragma once
// `sherd data tokenize`: its flags and what it does.
#include <cstdint>
#include <string>
#include <vector>

namespace CLI {
class App;
}

namespace sherd::cli {

class DataTokenize {
 public:
  /// Adds the subcommand to `data`. **Memory** this outlives the app.
  explicit DataTokenize(CLI::App& data);
  DataTokenize(const DataTokenize&) = delete;
  DataTokenize& operator=(const DataTokenize&) = delete;

  [[nodiscard]] bool parsed() const;
  /// The exit code. **Errors** ConfigError with every problem of the flags; DataError for content.
  int run() const;

 private:
  CLI::App* app_;
  std::vector<std::string> paths_;
  std::string tokenizer_, out_, separator_ = "auto";
  std::int64_t threads_ = 0, shard_tokens_ = std::int64_t{1} << 27;
  bool json_ = false, quiet_ = false;
};

}  // namespace sherd::cli
