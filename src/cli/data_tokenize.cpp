#include "cli/data_tokenize.hpp"

#include <fmt/format.h>
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <chrono>
#include <iostream>
#include <nlohmann/json.hpp>

#include "cli/clock.hpp"
#include "sherd/base/errors.hpp"
#include "sherd/data/tokenize.hpp"
#include "sherd/launch/machine.hpp"

namespace sherd::cli {
namespace {

std::string megabytes_per_second(Bytes bytes, double seconds) {
  return fmt::format("{:.1f} MB/s", static_cast<double>(bytes) / 1e6 / std::max(seconds, 1e-9));
}

std::optional<std::uint32_t> separator_of(const data::Tokenizer& tokenizer,
                                          const std::string& name) {
  if (name == "none") return std::nullopt;
  if (name != "auto") {
    const auto found = tokenizer.id_of(name);
    if (!found)
      throw ConfigError(
          {"--separator: got '" + name + "', which is no token of " + tokenizer.name()});
    return found;
  }
  const auto known = tokenizer.end_of_document();
  if (!known)
    throw ConfigError({"--separator: " + tokenizer.name() +
                       " has no token that is known to end a document; name one, or say none"});
  return known;
}

/// Lines on stderr, about one a second; on a terminal one line that changes.
class TextProgress {
 public:
  void operator()(const data::TokenizeProgress& now) {
    const bool ends = now.done == now.total;
    const double waited = std::chrono::duration<double>(Clock::now() - last_).count();
    if (waited < (terminal_ ? 0.1 : 5) && !(ends && shown_)) return;
    last_ = Clock::now();
    shown_ = true;
    const double part =
        100.0 * static_cast<double>(now.done) / static_cast<double>(std::max<Bytes>(now.total, 1));
    std::cerr << (terminal_ ? "\r\x1b[K" : "")
              << fmt::format("{:.1f} % of {}, {} tokens", part, format_bytes(now.total), now.tokens)
              << (terminal_ && !ends ? "" : "\n") << std::flush;
  }

 private:
  bool terminal_ = isatty(STDERR_FILENO) != 0, shown_ = false;
  Clock::time_point last_ = Clock::now();
};

std::string result_json(const data::Tokenized& made, const std::string& out,
                        const data::Tokenizer& tokenizer, double seconds) {
  const nlohmann::json line = {{"out", out},
                               {"tokens", made.tokens},
                               {"documents", made.documents},
                               {"examples", made.examples},
                               {"sources", made.sources},
                               {"shards", made.shards},
                               {"shards_kept", made.kept},
                               {"text_bytes", made.text},
                               {"bytes", made.written},
                               {"tokenizer", tokenizer.hash()},
                               {"vocab_size", tokenizer.vocab_size()},
                               {"seconds", seconds}};
  return line.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace);
}

}  // namespace

DataTokenize::DataTokenize(CLI::App& data)
    : app_(data.add_subcommand("tokenize", "Write text as a folder of tokens, once.")) {
  app_->add_option("paths", paths_, "text files or JSON lines (.jsonl), or folders of them")
      ->type_name("PATH");
  app_->add_option("--tokenizer", tokenizer_, "a tokenizer.json, or the folder that holds it")
      ->type_name("FILE");
  app_->add_option("--out", out_, "the folder to be made")->type_name("DIR");
  app_->add_option("--separator", separator_, "the token after each document; auto: its own end")
      ->type_name("TOKEN|auto|none")
      ->capture_default_str();
  app_->add_option("--threads", threads_, "0: cores this process may use")->capture_default_str();
  app_->add_option("--shard-tokens", shard_tokens_, "tokens after which a shard ends")
      ->capture_default_str();
  app_->add_flag("--json", json_, "one JSON line of what was made, on stdout");
  app_->add_flag("--quiet", quiet_, "no progress");
  app_->footer(
      "\nExample: sherd data tokenize corpus --tokenizer llama/tokenizer.json --out tokens\n"
      "         sherd train --data tokens --vocab-size 128256 --steps 100");
}

bool DataTokenize::parsed() const { return app_->parsed(); }

int DataTokenize::run() const {
  std::vector<std::string> problems;
  if (paths_.empty()) problems.emplace_back("data tokenize: need a path to read");
  if (tokenizer_.empty()) problems.emplace_back("--tokenizer: needed, a tokenizer.json");
  if (out_.empty()) problems.emplace_back("--out: needed, the folder to be made");
  if (threads_ < 0 || threads_ > 1024)
    problems.push_back(fmt::format("--threads: got {}, need 0 to 1024", threads_));
  constexpr std::int64_t most = std::int64_t{1} << 30;
  if (shard_tokens_ < 1 || shard_tokens_ > most)
    problems.push_back(fmt::format("--shard-tokens: got {}, need 1 to {}", shard_tokens_, most));
  if (!problems.empty()) throw ConfigError(std::move(problems));
  const auto begin = Clock::now();
  const data::Tokenizer tokenizer(tokenizer_);
  data::TokenizeOptions options;
  options.paths = paths_;
  options.out = out_;
  options.separator = separator_of(tokenizer, separator_);
  options.threads = threads_ > 0 ? static_cast<int>(threads_) : launch::usable_cores();
  options.shard_tokens = static_cast<std::uint64_t>(shard_tokens_);
  std::function<void(const data::TokenizeProgress&)> say;
  if (!quiet_) say = TextProgress();
  const data::Tokenized made = data::tokenize(tokenizer, options, say);
  const double seconds = seconds_since(begin);
  if (json_) {
    std::cout << result_json(made, out_, tokenizer, seconds) << std::endl;
    return 0;
  }
  std::cout << fmt::format("{}: {} tokens of {} {} in {} shard(s), {}{}; {:.1f} s, {}\n", out_,
                           made.tokens, made.documents, made.examples ? "examples" : "documents",
                           made.shards, format_bytes(made.written),
                           made.kept > 0 ? fmt::format(" ({} kept)", made.kept) : "", seconds,
                           megabytes_per_second(made.text, seconds))
            << std::flush;
  return 0;
}

}  // namespace sherd::cli
