#include "sherd/data/tokens.hpp"

#include <sys/stat.h>

#include <algorithm>
#include <limits>
#include <utility>

#include "data/manifest.hpp"
#include "data/paths.hpp"
#include "data/text_tokens.hpp"
#include "data/token_folders.hpp"
#include "data/token_windows.hpp"
#include "sherd/base/errors.hpp"

namespace sherd::data {
namespace {

TokenFormat common_format(const std::vector<std::string>& files) {
  if (files.empty()) return TokenFormat::text;
  const TokenFormat first = format_of(files.front());
  for (const std::string& file : files) {
    if (format_of(file) == first) continue;
    throw DataError("data: got mixed kinds of files, need one kind: '" + files.front() + "' is " +
                    name_of(first) + ", '" + file + "' is " + name_of(format_of(file)));
  }
  return first;
}

std::string labels_beside(const std::string& array) {
  const std::size_t slash = array.rfind('/');
  return (slash == std::string::npos ? "" : array.substr(0, slash + 1)) + "labels.npy";
}

/// The label arrays beside the token arrays: one for each, or none at all.
TokenStream open_labels(const TokenStream& tokens) {
  TokenStream labels;
  std::vector<std::string> used;
  for (const TokenArray& array : tokens.arrays()) {
    const std::string path = labels_beside(array.path());
    struct stat info {};
    if (::stat(path.c_str(), &info) != 0) continue;
    if (std::ranges::find(used, path) != used.end()) {
      throw DataError(path + ": lies beside two token arrays, need a folder for each");
    }
    TokenArray label = TokenArray::open(path, TokenFormat::npy);
    if (label.type() != DType::i32 && label.type() != DType::i64) {
      throw DataError(path + ": has elements of type " + std::string(name_of(label.type())) +
                      ", need int32 (-100 is not counted)");
    }
    if (label.count() != array.count()) {
      throw DataError(path + ": has " + std::to_string(label.count()) + " labels, need " +
                      std::to_string(array.count()) + ", one for each token of " + array.path());
    }
    labels.add(std::move(label));
    used.push_back(path);
  }
  if (!used.empty() && used.size() != tokens.arrays().size()) {
    throw DataError("data: got labels.npy beside some arrays only (such as " + used.front() +
                    "), need it beside all or none");
  }
  return labels;
}

}  // namespace

std::unique_ptr<TokenSource> open_tokens(const std::vector<std::string>& paths,
                                         const TokenOptions& options) {
  constexpr std::int64_t most = std::numeric_limits<std::int32_t>::max();
  expects(options.seq_len > 0 && options.seq_len < most,
          "open_tokens: got no seq_len in 1 to 2^31");
  expects(options.vocab_size > 0 && options.vocab_size <= most + 1,
          "open_tokens: got no vocab_size in 1 to 2^31");
  if (std::ranges::any_of(paths, holds_manifest)) return open_token_folders(paths, options);
  const std::vector<std::string> files = files_of(paths, options.skip);
  const TokenFormat format = common_format(files);
  if (options.tokenizer) return open_text(files, format, options);
  if (format == TokenFormat::lines)
    throw DataError(files.front() + ": holds JSON lines, which need --tokenizer FILE");
  TokenStream tokens;
  for (const std::string& file : files) tokens.add(TokenArray::open(file, format));
  std::string from = paths.empty() ? "no path" : "'" + paths.front() + "'";
  if (paths.size() > 1) from += " and " + std::to_string(paths.size() - 1) + " more";
  require_window(tokens, options, from);
  TokenStream labels;
  if (format == TokenFormat::npy) labels = open_labels(tokens);
  return windows_of(format, std::move(tokens), std::move(labels), options);
}

}  // namespace sherd::data
