#pragma once
// What a shared object or program asks of the loader, read from its file.
#include <elf.h>

#include <cstring>
#include <fstream>
#include <iterator>
#include <stdexcept>
#include <string>
#include <vector>

namespace sherd::test {

class Elf {
 public:
  explicit Elf(const std::string& path) {
    std::ifstream file(path, std::ios::binary);
    bytes_.assign(std::istreambuf_iterator<char>(file), {});
    if (bytes_.size() < sizeof(Elf64_Ehdr) || bytes_.compare(0, SELFMAG, ELFMAG) != 0) {
      throw std::runtime_error(path + " is no ELF file");
    }
    const auto header = at<Elf64_Ehdr>(0);
    for (std::size_t i = 0; i < header.e_shnum; ++i) {
      sections_.push_back(at<Elf64_Shdr>(header.e_shoff + i * header.e_shentsize));
    }
  }
  /// Names of the libraries it needs.
  [[nodiscard]] std::vector<std::string> needed() const {
    std::vector<std::string> names;
    each<Elf64_Dyn>(SHT_DYNAMIC, [&](const Elf64_Dyn& entry, const Elf64_Shdr& strings) {
      if (entry.d_tag == DT_NEEDED) names.push_back(text(strings, entry.d_un.d_val));
    });
    return names;
  }
  /// Names of the symbols that it offers.
  [[nodiscard]] std::vector<std::string> exported() const {
    std::vector<std::string> names;
    each<Elf64_Sym>(SHT_DYNSYM, [&](const Elf64_Sym& symbol, const Elf64_Shdr& strings) {
      if (symbol.st_shndx != SHN_UNDEF) names.push_back(text(strings, symbol.st_name));
    });
    return names;
  }

 private:
  template <class T>
  [[nodiscard]] T at(std::size_t offset) const {
    T value;
    std::memcpy(&value, bytes_.data() + offset, sizeof value);
    return value;
  }
  [[nodiscard]] std::string text(const Elf64_Shdr& strings, std::size_t offset) const {
    return bytes_.c_str() + strings.sh_offset + offset;
  }
  /// visit(entry, the section of its names) for the tables of `type`.
  template <class Entry, class Visit>
  void each(std::uint32_t type, const Visit& visit) const {
    for (const Elf64_Shdr& section : sections_) {
      if (section.sh_type != type) continue;
      for (std::size_t i = 0; i < section.sh_size / sizeof(Entry); ++i) {
        visit(at<Entry>(section.sh_offset + i * sizeof(Entry)), sections_[section.sh_link]);
      }
    }
  }

  std::string bytes_;
  std::vector<Elf64_Shdr> sections_;
};

}  // namespace sherd::test
