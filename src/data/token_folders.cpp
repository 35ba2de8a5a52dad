#include "data/token_folders.hpp"

#include <utility>

#include "data/examples.hpp"
#include "data/manifest.hpp"
#include "data/token_windows.hpp"
#include "sherd/base/errors.hpp"

namespace sherd::data {
namespace {

struct MadeFolder {
  std::string path;
  Manifest manifest;
};

/// Adds the checksums of folders to what a source checks.
class VerifiedTokens final : public TokenSource {
 public:
  VerifiedTokens(std::vector<MadeFolder> folders, std::unique_ptr<TokenSource> inner)
      : folders_(std::move(folders)), inner_(std::move(inner)) {}

  [[nodiscard]] std::uint64_t samples() const override { return inner_->samples(); }
  [[nodiscard]] SampleShape shape() const override { return inner_->shape(); }
  [[nodiscard]] std::uint64_t tokens() const override { return inner_->tokens(); }
  [[nodiscard]] std::uint64_t files() const override { return inner_->files(); }
  [[nodiscard]] std::uint64_t fingerprint() const override { return inner_->fingerprint(); }
  void read(std::uint64_t sample, View inputs, View labels) const override {
    inner_->read(sample, inputs, labels);
  }
  void check_tokens() const override {
    for (const MadeFolder& folder : folders_)
      for (const Shard& shard : folder.manifest.shards) verify_shard(folder.path, shard);
    inner_->check_tokens();
  }

 private:
  std::vector<MadeFolder> folders_;
  std::unique_ptr<TokenSource> inner_;
};

MadeFolder open_folder(const std::string& path, const TokenOptions& options) {
  if (!holds_manifest(path))
    throw DataError("data: got folders of tokens and '" + path + "', which has no " +
                    manifest_name + "; need one kind");
  MadeFolder folder{path, read_manifest(path + "/" + manifest_name)};
  const Manifest& manifest = folder.manifest;
  require_vocabulary(path, manifest.vocab_size, options);
  if (options.tokenizer && options.tokenizer->hash() != manifest.tokenizer)
    throw DataError(path + ": was made with another tokenizer than " + options.tokenizer->name());
  return folder;
}

TokenArray open_array(const MadeFolder& folder, const ShardFile& file, std::uint64_t count) {
  const std::string path = folder.path + "/" + file.name;
  TokenArray array = TokenArray::open(path, format_of(path));
  if (array.count() != count || array.file_size() != file.bytes)
    throw DataError(path + ": has " + std::to_string(array.count()) + " elements in " +
                    std::to_string(array.file_size()) + " bytes, need " + std::to_string(count) +
                    " in " + std::to_string(file.bytes) + " by its manifest");
  return array;
}

std::unique_ptr<TokenSource> open_documents(const std::vector<MadeFolder>& folders,
                                            const TokenOptions& options) {
  TokenStream tokens;
  for (const MadeFolder& folder : folders)
    for (const Shard& shard : folder.manifest.shards)
      tokens.add(open_array(folder, shard.files[0], shard.tokens));
  require_window(tokens, options, "'" + folders.front().path + "'");
  return windows_of(TokenFormat::llmc, std::move(tokens), {}, options);
}

std::unique_ptr<TokenSource> open_example_folders(const std::vector<MadeFolder>& folders,
                                                  const TokenOptions& options) {
  std::vector<ExampleArrays> shards;
  for (const MadeFolder& folder : folders)
    for (const Shard& shard : folder.manifest.shards)
      shards.push_back({open_array(folder, shard.files[0], shard.tokens),
                        open_array(folder, shard.files[1], shard.tokens),
                        open_array(folder, shard.files[2], shard.documents + 1)});
  return open_examples(std::move(shards), options);
}

}  // namespace

std::unique_ptr<TokenSource> open_token_folders(const std::vector<std::string>& paths,
                                                const TokenOptions& options) {
  std::vector<MadeFolder> folders;
  for (const std::string& path : paths) {
    folders.push_back(open_folder(path, options));
    const Manifest &first = folders.front().manifest, &last = folders.back().manifest;
    if (last.tokenizer != first.tokenizer || last.examples != first.examples)
      throw DataError(path + ": was made with another tokenizer than " + folders.front().path +
                      ", or holds examples where that does not; need one kind");
  }
  auto inner = folders.front().manifest.examples ? open_example_folders(folders, options)
                                                 : open_documents(folders, options);
  return std::make_unique<VerifiedTokens>(std::move(folders), std::move(inner));
}

}  // namespace sherd::data
