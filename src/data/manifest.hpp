#pragma once
// What a folder of tokens says of itself.
#include <cstdint>
#include <nlohmann/json_fwd.hpp>
#include <optional>
#include <string>
#include <vector>

#include "data/text_pieces.hpp"
#include "sherd/base/dtype.hpp"

namespace sherd::data {

inline constexpr const char* manifest_name = "manifest.json";

struct ShardFile {
  std::string name;  // in the folder
  Bytes bytes = 0;
  std::string digest;
};

/// Some of the tokens. Of documents one file, `.bin` of llm.c; of examples three arrays of numpy:
/// tokens, labels, and where each example starts (one element more than there are examples).
struct Shard {
  std::uint64_t tokens = 0, documents = 0;
  std::vector<ShardFile> files;
  TextPlace end;           // in the sources
  std::string end_digest;  // of the source's bytes up to there
};

struct Manifest {
  bool examples = false;
  DType type = DType::u16;  // of tokens: u16 or u32
  std::uint64_t tokens = 0, documents = 0;
  std::string tokenizer;  // hash of its file
  std::int64_t vocab_size = 0;
  std::optional<std::uint32_t> separator;
  std::string
      request;  // digest of all that decides what the tokens are, but for the files' content
  std::vector<SourceFile> sources;
  std::vector<Shard> shards;
};

/// Keys sorted, a line each.
[[nodiscard]] std::string to_json(const Manifest& manifest);

/// **Errors** DataError starting with `name`: missing or wrong members, names outside the folder,
/// counts that do not add up.
[[nodiscard]] Manifest manifest_of(const nlohmann::json& tree, const std::string& name);

[[nodiscard]] bool holds_manifest(const std::string& folder);
[[nodiscard]] Manifest read_manifest(const std::string& path);

/// Reads a shard's files and compares sizes and digests.
/// **Errors** DataError naming the first file that is not as promised.
void verify_shard(const std::string& folder, const Shard& shard);

}  // namespace sherd::data
