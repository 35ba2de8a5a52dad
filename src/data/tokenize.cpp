#include "sherd/data/tokenize.hpp"

#include <sys/statvfs.h>

#include <algorithm>
#include <filesystem>
#include <utility>

#include "data/encoded_text.hpp"
#include "data/manifest.hpp"
#include "data/paths.hpp"
#include "data/shard_writer.hpp"
#include "data/text_pieces.hpp"
#include "data/token_file.hpp"
#include "data/unfinished_folder.hpp"
#include "sherd/base/errors.hpp"
#include "sherd/device/workers.hpp"

namespace sherd::data {
namespace {

TextFormat text_format_of(const std::vector<std::string>& files) {
  if (files.empty()) throw DataError("tokenize: found no file");
  const TokenFormat first = format_of(files.front());
  for (const std::string& file : files) {
    const TokenFormat format = format_of(file);
    if (format == TokenFormat::llmc || format == TokenFormat::npy)
      throw DataError(file + ": holds tokens already, need text or JSON lines");
    if (format != first)
      throw DataError("tokenize: got text ('" +
                      (first == TokenFormat::text ? files.front() : file) + "') and JSON lines ('" +
                      (first == TokenFormat::text ? file : files.front()) + "'), need one kind");
  }
  return first == TokenFormat::lines ? TextFormat::lines : TextFormat::plain;
}

/// Everything that decides what the tokens are, but for the files' content.
std::string request_of(const Manifest& manifest, const TokenizeOptions& options) {
  Digest digest;
  const auto add = [&](std::string_view text) {
    digest.add(std::to_string(text.size()) + ":");
    digest.add(text);
  };
  add("sherd data tokenize 1");
  add(manifest.tokenizer);
  add(manifest.examples ? "examples" : "documents");
  add(options.separator ? std::to_string(*options.separator) : "none");
  add(std::to_string(options.shard_tokens));
  add(std::to_string(options.piece_bytes));
  for (const SourceFile& source : manifest.sources) {
    add(source.path);
    add(std::to_string(source.bytes));
  }
  return digest.hex();
}

/// One run: reads pieces, encodes some at once, writes them in order.
class TokenizeRun {
 public:
  TokenizeRun(const Tokenizer& tokenizer, const TokenizeOptions& options, TextFormat format,
              const std::vector<std::string>& files)
      : options_(options),
        format_(format),
        pieces_(files, tokenizer, format, options.piece_bytes),
        workers_(options.threads) {
    const RecordKind kind =
        format == TextFormat::lines ? record_kind_of(files) : RecordKind::document;
    for (int i = 0; i < options.threads; ++i)
      encoders_.emplace_back(tokenizer, options.separator, kind);
    manifest_.examples = kind == RecordKind::example;
    manifest_.type = tokenizer.vocab_size() <= 65536 ? DType::u16 : DType::u32;
    manifest_.tokenizer = tokenizer.hash();
    manifest_.vocab_size = tokenizer.vocab_size();
    manifest_.separator = options.separator;
    manifest_.sources = pieces_.sources();
    manifest_.request = request_of(manifest_, options);
  }

  Tokenized run(const std::function<void(const TokenizeProgress&)>& say) {
    if (take_finished()) return result();
    UnfinishedFolder folder(options_.out);
    take_over(folder);
    while (read_wave()) {
      encode_wave();
      if (!writer_) require_room(folder.path());
      for (std::size_t i = 0; i < wave_.size(); ++i) write(folder, i);
      if (say) say({done_, pieces_.total_bytes(), manifest_.tokens + open_tokens()});
    }
    if (writer_) finish_shard(folder, place_, pieces_.digest_so_far());
    manifest_.sources = pieces_.sources();
    folder.publish(to_json(manifest_));
    return result();
  }

 private:
  /// Was all of it done before? Then it is verified.
  bool take_finished() {
    if (!holds_manifest(options_.out)) return false;
    Manifest found = read_manifest(options_.out + "/" + manifest_name);
    if (found.request != manifest_.request)
      throw DataError(options_.out +
                      ": holds tokens of another tokenizer, text or setting; choose "
                      "another --out or remove it");
    for (std::size_t i = 0; i < found.sources.size(); ++i)
      if (digest_of(io::File(manifest_.sources[i].path)) != found.sources[i].digest)
        throw DataError(options_.out + ": was made when " + manifest_.sources[i].path +
                        " had other content; choose another --out or remove it");
    for (const Shard& shard : found.shards) verify_shard(options_.out, shard);
    kept_ = found.shards.size();
    manifest_ = std::move(found);
    return true;
  }

  /// Goes on behind the shards that an unfinished run left, as far as they and the text hold.
  void take_over(UnfinishedFolder& folder) {
    const std::optional<Manifest> left = folder.left_behind(manifest_.request);
    if (left && !left->shards.empty()) {
      const Shard& last = left->shards.back();
      pieces_.skip_to(last.end);
      bool same = pieces_.digest_so_far() == last.end_digest;
      for (std::size_t i = 0; i < last.end.source; ++i)
        same = same && pieces_.sources()[i].digest == left->sources[i].digest;
      if (!same)
        throw DataError(folder.path() + ": was begun with other text; remove it to begin anew");
      manifest_.shards = left->shards;
      manifest_.tokens = left->tokens;
      manifest_.documents = left->documents;
      place_ = last.end;
      for (std::size_t i = 0; i < place_.source; ++i) done_ += manifest_.sources[i].bytes;
      done_ += place_.byte;
      kept_ = manifest_.shards.size();
    }
    folder.begin(manifest_.shards);
  }

  bool read_wave() {
    wave_.clear();
    digests_.clear();
    const auto most = static_cast<std::size_t>(options_.threads) * 4;
    Bytes bytes = 0;
    while (wave_.size() < most && bytes < most * options_.piece_bytes) {
      std::optional<TextPiece> piece = pieces_.next();
      if (!piece) break;
      bytes += piece->text.size();
      digests_.push_back(pieces_.digest_so_far());
      wave_.push_back(std::move(*piece));
    }
    return !wave_.empty();
  }

  void encode_wave() {
    encoded_.assign(wave_.size(), {});
    workers_.run(static_cast<std::int64_t>(wave_.size()), [&](std::int64_t index, int worker) {
      const auto i = static_cast<std::size_t>(index);
      TextEncoder& encoder = encoders_[static_cast<std::size_t>(worker)];
      const TextPiece& piece = wave_[i];
      if (format_ == TextFormat::plain)
        encoder.add_plain(piece, encoded_[i]);
      else
        encoder.add_lines(piece, manifest_.sources[piece.begin.source].path, encoded_[i]);
    });
  }

  void write(UnfinishedFolder& folder, std::size_t i) {
    if (!writer_)
      writer_.emplace(folder.path(), manifest_.shards.size(), manifest_.type, manifest_.examples);
    writer_->append(encoded_[i]);
    done_ += wave_[i].text.size();
    place_ = wave_[i].end;
    if (writer_->tokens() >= options_.shard_tokens) finish_shard(folder, place_, digests_[i]);
  }

  void finish_shard(UnfinishedFolder& folder, TextPlace end, const std::string& digest) {
    Shard shard = writer_->finish();
    writer_.reset();
    shard.end = end;
    shard.end_digest = digest;
    manifest_.tokens += shard.tokens;
    manifest_.documents += shard.documents;
    manifest_.shards.push_back(std::move(shard));
    manifest_.sources = pieces_.sources();
    folder.note(to_json(manifest_));
  }

  /// Is there room for what is left, by the tokens that this wave's text came to?
  void require_room(const std::string& folder) const {
    Bytes text = 0;
    std::uint64_t tokens = 0;
    for (std::size_t i = 0; i < wave_.size(); ++i) {
      text += wave_[i].text.size();
      tokens += encoded_[i].tokens.size();
    }
    const auto left = static_cast<double>(pieces_.total_bytes() - done_);
    const double each = static_cast<double>(size_of(manifest_.type) + (manifest_.examples ? 4 : 0));
    const double need =
        left * each * static_cast<double>(tokens) / static_cast<double>(std::max<Bytes>(text, 1));
    struct statvfs room {};
    if (::statvfs(folder.c_str(), &room) != 0) return;
    const double free = static_cast<double>(room.f_bavail) * static_cast<double>(room.f_frsize);
    if (need > free)
      throw CapacityError("tokenize: needs about " + format_bytes(static_cast<Bytes>(need)) +
                          " more in " + folder + ", which has " +
                          format_bytes(static_cast<Bytes>(free)));
  }

  [[nodiscard]] std::uint64_t open_tokens() const { return writer_ ? writer_->tokens() : 0; }

  [[nodiscard]] Tokenized result() const {
    Tokenized all;
    all.tokens = manifest_.tokens;
    all.documents = manifest_.documents;
    all.sources = manifest_.sources.size();
    all.shards = manifest_.shards.size();
    all.kept = kept_;
    all.examples = manifest_.examples;
    all.text = pieces_.total_bytes();
    for (const Shard& shard : manifest_.shards)
      for (const ShardFile& file : shard.files) all.written += file.bytes;
    return all;
  }

  const TokenizeOptions& options_;
  TextFormat format_;
  TextPieces pieces_;
  device::Workers workers_;
  std::vector<TextEncoder> encoders_;
  Manifest manifest_;
  std::vector<TextPiece> wave_;
  std::vector<std::string> digests_;  // of the sources, behind each piece
  std::vector<EncodedText> encoded_;
  std::optional<ShardWriter> writer_;
  TextPlace place_;
  Bytes done_ = 0;
  std::size_t kept_ = 0;
};

}  // namespace

Tokenized tokenize(const Tokenizer& tokenizer, const TokenizeOptions& options,
                   const std::function<void(const TokenizeProgress&)>& say) {
  expects(options.threads > 0, "tokenize: got no thread, need at least 1");
  expects(options.shard_tokens > 0, "tokenize: got shards of no tokens");
  expects(!options.out.empty(), "tokenize: got no folder to write");
  const std::vector<std::string> files = files_of(options.paths);
  return TokenizeRun(tokenizer, options, text_format_of(files), files).run(say);
}

}  // namespace sherd::data
