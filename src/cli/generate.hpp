#pragma once
// `sherd generate`: text from a folder in Hugging Face layout or from a checkpoint.
#include <cstdint>
#include <string>
#include <vector>

#include "cli/generate_source.hpp"
#include "sherd/model/sampling.hpp"

namespace CLI {
class App;
}

namespace sherd::cli {

class Generate {
 public:
  /// Adds the subcommand. **Memory** this outlives the app.
  explicit Generate(CLI::App& app);
  Generate(const Generate&) = delete;
  Generate& operator=(const Generate&) = delete;

  [[nodiscard]] bool parsed() const;
  /// The exit code. **Errors** ConfigError with every problem of the flags; DataError for content;
  /// CapacityError where memory does not suffice.
  int run();

 private:
  struct Text;
  void check() const;
  [[nodiscard]] std::vector<std::int32_t> prompt_of(const GenerateSource& source) const;
  [[nodiscard]] Text text_of(GenerateSource& source, std::vector<std::int32_t> prompt) const;
  void write(const Text& text) const;

  CLI::App* app_;
  SourceOptions source_;
  model::SamplingConfig sampling_;
  std::string prompt_, dtype_ = "fp32", device_ = "auto";
  std::vector<std::int64_t> prompt_tokens_;
  std::vector<std::string> stops_;
  std::int64_t max_tokens_ = 128, threads_ = 0;
  bool json_ = false, quiet_ = false;
};

}  // namespace sherd::cli
