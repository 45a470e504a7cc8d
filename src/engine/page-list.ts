/** A sequence's pages in one pool, by their place in the sequence: those behind a window were let go, the rest is in one run. */
export class PageList {
  /** Place of the first page that is there. */
  first = 0;
  readonly pages: number[] = [];
  /** Places that the table on the GPU has. */
  tabled = 0;

  /** Place after the last page. */
  get end(): number {
    return this.first + this.pages.length;
  }

  /** The page at a place, if it is there. */
  at(place: number): number | undefined {
    return this.pages[place - this.first];
  }

  /** Takes off what lies before a place. */
  dropTo(place: number): number[] {
    const count = Math.min(Math.max(0, place - this.first), this.pages.length);
    this.first += count;
    return this.pages.splice(0, count);
  }

  clear(): void {
    this.first = this.tabled = this.pages.length = 0;
  }
}
