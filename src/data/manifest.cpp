#include "data/manifest.hpp"

#include <sys/stat.h>

#include <algorithm>
#include <limits>
#include <nlohmann/json.hpp>
#include <string_view>

#include "sherd/base/errors.hpp"
#include "sherd/io/json.hpp"

namespace sherd::data {
namespace {

using Member = nlohmann::json;
constexpr std::string_view manifest_format = "sherd tokens 1";
constexpr std::uint64_t most_tokens = std::uint64_t{1} << 60;

Member member_of(const SourceFile& source) {
  return {{"path", source.path}, {"bytes", source.bytes}, {"xxh3_128", source.digest}};
}

Member member_of(const Shard& shard) {
  Member files = Member::array();
  for (const ShardFile& file : shard.files)
    files.push_back({{"name", file.name}, {"bytes", file.bytes}, {"xxh3_128", file.digest}});
  return {
      {"tokens", shard.tokens},
      {"documents", shard.documents},
      {"files", files},
      {"end",
       {{"source", shard.end.source}, {"byte", shard.end.byte}, {"xxh3_128", shard.end_digest}}}};
}

/// Takes members out of objects, each with its check.
class ManifestReader {
 public:
  explicit ManifestReader(const std::string& name) : name_(name) {}

  [[noreturn]] void refuse(const std::string& problem) const {
    throw DataError(name_ + ": " + problem);
  }
  [[nodiscard]] const Member& of(const Member& object, const char* key) const {
    if (!object.is_object() || !object.contains(key)) refuse(std::string("lacks '") + key + "'");
    return object.at(key);
  }
  [[nodiscard]] std::uint64_t number(const Member& object, const char* key,
                                     std::uint64_t most = most_tokens) const {
    const Member& value = of(object, key);
    if (!value.is_number_unsigned() || value.get<std::uint64_t>() > most)
      refuse(std::string("'") + key + "' is no whole number up to " + std::to_string(most));
    return value.get<std::uint64_t>();
  }
  [[nodiscard]] std::string text(const Member& object, const char* key) const {
    const Member& value = of(object, key);
    if (!value.is_string()) refuse(std::string("'") + key + "' is no text");
    return value.get<std::string>();
  }
  [[nodiscard]] const Member& list(const Member& object, const char* key) const {
    const Member& value = of(object, key);
    if (!value.is_array()) refuse(std::string("'") + key + "' is no list");
    return value;
  }

  [[nodiscard]] Shard shard(const Member& tree, bool examples) const {
    Shard shard;
    shard.tokens = number(tree, "tokens");
    shard.documents = number(tree, "documents");
    for (const Member& file : list(tree, "files")) {
      shard.files.push_back({text(file, "name"), number(file, "bytes"), text(file, "xxh3_128")});
      check_inside(shard.files.back().name);
    }
    if (shard.files.size() != (examples ? 3 : 1)) refuse("has a shard with too many or few files");
    const Member& end = of(tree, "end");
    shard.end = {static_cast<std::size_t>(number(end, "source")), number(end, "byte")};
    shard.end_digest = text(end, "xxh3_128");
    return shard;
  }

 private:
  void check_inside(const std::string& file) const {
    bool good = !file.empty() && file.front() != '/' && file.find('\0') == std::string::npos;
    for (std::size_t at = 0; good && at <= file.size();) {
      const std::size_t slash = std::min(file.find('/', at), file.size());
      good = slash > at && file[at] != '.';  // neither "..", nor hidden, nor empty
      at = slash + 1;
    }
    if (!good) refuse("names the file '" + io::printable(file) + "', need one in its folder");
  }

  const std::string& name_;
};

}  // namespace

std::string to_json(const Manifest& manifest) {
  Member tree = {{"format", manifest_format},
                 {"examples", manifest.examples},
                 {"token_type", name_of(manifest.type)},
                 {"tokens", manifest.tokens},
                 {"documents", manifest.documents},
                 {"tokenizer", manifest.tokenizer},
                 {"vocab_size", manifest.vocab_size},
                 {"separator", nullptr},
                 {"request", manifest.request},
                 {"sources", Member::array()},
                 {"shards", Member::array()}};
  if (manifest.separator) tree["separator"] = *manifest.separator;
  for (const SourceFile& source : manifest.sources) tree["sources"].push_back(member_of(source));
  for (const Shard& shard : manifest.shards) tree["shards"].push_back(member_of(shard));
  return tree.dump(1, ' ', false, Member::error_handler_t::replace) + "\n";
}

Manifest manifest_of(const Member& tree, const std::string& name) {
  const ManifestReader read(name);
  if (read.text(tree, "format") != manifest_format)
    read.refuse("has the format '" + io::printable(read.text(tree, "format")) + "', need '" +
                std::string(manifest_format) + "'");
  Manifest manifest;
  if (!read.of(tree, "examples").is_boolean()) read.refuse("'examples' is neither true nor false");
  manifest.examples = tree["examples"].get<bool>();
  const std::string type = read.text(tree, "token_type");
  if (type != "u16" && type != "u32") read.refuse("'token_type' is neither u16 nor u32");
  manifest.type = type == "u16" ? DType::u16 : DType::u32;
  manifest.tokens = read.number(tree, "tokens");
  manifest.documents = read.number(tree, "documents");
  manifest.tokenizer = read.text(tree, "tokenizer");
  manifest.vocab_size = static_cast<std::int64_t>(
      read.number(tree, "vocab_size", std::numeric_limits<std::int32_t>::max()));
  if (!read.of(tree, "separator").is_null())
    manifest.separator = static_cast<std::uint32_t>(
        read.number(tree, "separator", std::numeric_limits<std::uint32_t>::max()));
  manifest.request = read.text(tree, "request");
  for (const Member& source : read.list(tree, "sources"))
    manifest.sources.push_back(
        {read.text(source, "path"), read.number(source, "bytes"), read.text(source, "xxh3_128")});
  std::uint64_t tokens = 0, documents = 0;
  for (const Member& one : read.list(tree, "shards")) {
    manifest.shards.push_back(read.shard(one, manifest.examples));
    tokens += manifest.shards.back().tokens;
    documents += manifest.shards.back().documents;
    if (tokens > manifest.tokens || documents > manifest.documents) break;
  }
  if (tokens != manifest.tokens || documents != manifest.documents)
    read.refuse("has shards that do not add up to its tokens and documents");
  return manifest;
}

bool holds_manifest(const std::string& folder) {
  struct stat info {};
  return ::stat((folder + "/" + manifest_name).c_str(), &info) == 0 && S_ISREG(info.st_mode);
}

Manifest read_manifest(const std::string& path) {
  const io::File file(path);
  return manifest_of(io::read_json(file, {.bytes = 256 * mib, .values = std::size_t{1} << 23}),
                     file.path());
}

void verify_shard(const std::string& folder, const Shard& shard) {
  for (const ShardFile& promised : shard.files) {
    const io::File file(folder + "/" + promised.name);
    if (file.size() != promised.bytes)
      throw DataError(file.path() + ": has " + std::to_string(file.size()) + " bytes, need " +
                      std::to_string(promised.bytes) + " by its manifest");
    if (digest_of(file) != promised.digest)
      throw DataError(file.path() + ": is not what its manifest says (checksum " + digest_of(file) +
                      ", need " + promised.digest + ")");
  }
}

}  // namespace sherd::data
