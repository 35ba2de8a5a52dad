#pragma once
// Runs of tokenize on small text, and folders compared.
#include <filesystem>
#include <map>
#include <stdexcept>
#include <string>
#include <vector>

#include "data/tokenizer_case.hpp"
#include "data/tokens_case.hpp"
#include "sherd/data/tokenize.hpp"

namespace sherd::test {

/// Content by name, hidden files too.
inline std::map<std::string, std::string> files_in(const std::string& folder) {
  std::map<std::string, std::string> files;
  for (const auto& entry : std::filesystem::recursive_directory_iterator(folder))
    if (entry.is_regular_file())
      files[std::filesystem::relative(entry.path(), folder).string()] = content_of(entry.path());
  return files;
}

/// Options for small pieces and shards, so that little text has many.
inline data::TokenizeOptions small_options(std::vector<std::string> paths, const std::string& out,
                                           const data::Tokenizer& tokenizer) {
  data::TokenizeOptions options;
  options.paths = std::move(paths);
  options.out = out;
  options.separator = tokenizer.end_of_document();
  options.threads = 2;
  options.shard_tokens = 3000;
  options.piece_bytes = 1000;
  return options;
}

struct Stop : std::runtime_error {
  Stop() : std::runtime_error("stopped by the test") {}
};

/// Runs until `calls` reports of progress have come; true if it was stopped then.
inline bool stopped_after(int calls, const data::Tokenizer& tokenizer,
                          const data::TokenizeOptions& options) {
  try {
    data::tokenize(tokenizer, options, [&](const data::TokenizeProgress&) {
      if (calls-- == 0) throw Stop();
    });
  } catch (const Stop&) {
    return true;
  }
  return false;
}

inline std::string hidden_name(const std::string& folder, const std::string& name) {
  return folder + "/." + name + ".unfinished";
}

/// What opening folders of tokens complains about.
inline std::string folder_refusal(const std::vector<std::string>& paths,
                                  const data::TokenOptions& options) {
  return message_of<DataError>([&] { data::open_tokens(paths, options)->check_tokens(); });
}

}  // namespace sherd::test
