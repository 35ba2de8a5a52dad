#include "data/shard_writer.hpp"

#include <array>
#include <cstring>
#include <filesystem>
#include <limits>
#include <utility>

#include "sherd/base/errors.hpp"

namespace sherd::data {
namespace {

constexpr Bytes llmc_head_bytes = 1024, npy_head_bytes = 128;

std::vector<std::byte> as_head(const void* data, std::size_t size) {
  std::vector<std::byte> head(size);
  std::memcpy(head.data(), data, size);
  return head;
}

/// As token_file.cpp reads it.
std::vector<std::byte> llmc_head(DType type, std::uint64_t tokens) {
  std::array<std::int32_t, 256> head{};
  head[0] = type == DType::u16 ? 20240520 : 20240801;
  head[1] = type == DType::u16 ? 1 : 7;
  head[2] = static_cast<std::int32_t>(tokens);
  return as_head(head.data(), llmc_head_bytes);
}

/// Version 1.0 of numpy's format, padded to its own size.
std::vector<std::byte> npy_head(const char* descr, std::uint64_t count) {
  std::string head("\x93NUMPY\x01\x00\x76\x00", 10);
  head += std::string("{'descr': '") + descr + "', 'fortran_order': False, 'shape': (" +
          std::to_string(count) + ",), }";
  head.resize(npy_head_bytes - 1, ' ');
  head += '\n';
  return as_head(head.data(), head.size());
}

template <class To, class From>
void append_as(GrowingFile& file, const std::vector<From>& values) {
  std::vector<To> narrow(values.size());
  for (std::size_t i = 0; i < values.size(); ++i) narrow[i] = static_cast<To>(values[i]);
  file.append(std::as_bytes(std::span(narrow)));
}

}  // namespace

ShardWriter::ShardWriter(std::string folder, std::size_t number, DType type, bool examples)
    : folder_(std::move(folder)), type_(type) {
  std::string name = std::to_string(number);
  name.insert(0, 6 - std::min<std::size_t>(6, name.size()), '0');
  names_ = {name + ".bin"};
  if (examples) {
    std::filesystem::create_directories(folder_ + "/" + name);
    names_ = {name + "/tokens.npy", name + "/labels.npy", name + "/starts.npy"};
  }
  const std::vector<std::byte> blank(examples ? npy_head_bytes : llmc_head_bytes);
  for (const std::string& file : names_) {
    files_.push_back(std::make_unique<GrowingFile>(folder_ + "/" + file));
    files_.back()->append(blank);
  }
  if (examples) append_as<std::uint32_t>(*files_[2], std::vector<std::uint32_t>{0});
}

void ShardWriter::append(const EncodedText& text) {
  if (text.tokens.size() > std::numeric_limits<std::int32_t>::max() - tokens_)
    throw DataError(folder_ + ": a shard would have 2^31 tokens or more, need fewer a shard");
  if (type_ == DType::u16)
    append_as<std::uint16_t>(*files_[0], text.tokens);
  else
    append_as<std::uint32_t>(*files_[0], text.tokens);
  if (files_.size() > 1) {
    append_as<std::int32_t>(*files_[1], text.labels);
    append_starts(text);
  }
  tokens_ += text.tokens.size();
  documents_ += text.documents;
}

void ShardWriter::append_starts(const EncodedText& text) {
  std::vector<std::uint32_t> starts;
  for (const std::uint32_t end : text.ends)
    starts.push_back(static_cast<std::uint32_t>(tokens_ + end));
  append_as<std::uint32_t>(*files_[2], starts);
}

Shard ShardWriter::finish() {
  Shard shard{tokens_, documents_, {}, {}, ""};
  const char* token_descr = type_ == DType::u16 ? "<u2" : "<u4";
  for (std::size_t i = 0; i < files_.size(); ++i) {
    if (files_.size() == 1)
      files_[i]->finish(llmc_head(type_, tokens_));
    else if (i == 2)
      files_[i]->finish(npy_head("<u4", documents_ + 1));
    else
      files_[i]->finish(npy_head(i == 0 ? token_descr : "<i4", tokens_));
    const io::File written(folder_ + "/" + names_[i]);
    shard.files.push_back({names_[i], written.size(), digest_of(written)});
  }
  if (files_.size() > 1)
    sync_folder((std::filesystem::path(folder_) / names_[0]).parent_path().string());
  sync_folder(folder_);
  return shard;
}

}  // namespace sherd::data
